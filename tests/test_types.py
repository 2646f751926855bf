"""rl4bio.types: what only some samples have, typed or in a dict of anybody's."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from rl4bio.answers.asked import Asked
from rl4bio.answers.choice import AskedChoice
from rl4bio.answers.design import Begun
from rl4bio.types import Extra, RememberingScorer, Sample, ScoreTable

OPTIONS = {"A": "no", "B": "yes"}
TYPED = AskedChoice(kind="choice", options=OPTIONS)
PLAIN = {"kind": "choice", "options": OPTIONS}


def sample(extra: Any) -> Sample:
    return Sample(uid="1", prompt="p", extra=extra)


@pytest.mark.parametrize("extra", [TYPED, PLAIN, {**PLAIN, "dose_mg": 5}])
def test_a_dict_is_read_by_the_same_fields(extra: Any) -> None:
    asked = AskedChoice.of(sample(extra))
    assert (asked.kind, asked.options, asked.task) == ("choice", OPTIONS, None)
    assert Asked.of(sample(extra)).kind == "choice"
    assert Begun.of(sample(extra)) == {"prefix": ""}  # other fields, none of which is there


def test_typed_data_is_a_mapping_of_what_it_has() -> None:
    assert isinstance(TYPED, Mapping)
    assert TYPED == PLAIN
    assert PLAIN == TYPED
    assert {*TYPED} == {"kind", "options"}
    assert "task" not in TYPED
    assert TYPED.get("task", "none") == "none"
    with pytest.raises(KeyError):
        TYPED["task"]
    assert AskedChoice(task="t") != TYPED


@pytest.mark.parametrize("extra", [TYPED, PLAIN])
def test_a_field_is_changed_in_a_copy(extra: Any) -> None:
    before = sample(extra)
    after = before.with_extra(answer_form="tags")
    assert after.extra == {**PLAIN, "answer_form": "tags"}
    assert type(after.extra) is type(extra)
    assert before.extra == PLAIN


def test_a_sample_goes_to_another_process() -> None:
    first = sample(TYPED)
    assert Sample(**first.plain()) == first
    assert type(first.plain()["extra"]) is dict
    again = pickle.loads(pickle.dumps(first))
    assert isinstance(again.extra, AskedChoice)
    assert again == first


def test_nothing_else_is_taken_for_a_field() -> None:
    with pytest.raises(TypeError, match="dose_mg"):
        AskedChoice(dose_mg=5)  # type: ignore[call-arg]
    assert Extra.of(sample({"dose_mg": 5})) == {}


def test_a_scorer_without_memory_has_hooks_that_do_nothing() -> None:
    def scorer(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        return ScoreTable(total=[1.0] * len(completions), parts={}, weights={})

    found = RememberingScorer.of(scorer)
    assert found.scorer is scorer
    assert RememberingScorer.of(found) is found
    assert found(["a", "b"], []).total == [1.0, 1.0]
    found.join(list, 0)
    found.share(list)
    found.load_state_dict([1])
    assert (found.numbers(), found.memories, found.state_dict(), found.places) == (
        {},
        {},
        None,
        None,
    )
