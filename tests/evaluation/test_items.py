"""rl4bio.evaluation.items: kinds, checks and the subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from rl4bio.answers.kinds import KINDS, kinds_of
from rl4bio.data import Corpus
from rl4bio.data.base import Split
from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation.items import Items, check_open, choose_items, constant_answers, find_items
from rl4bio.sections import EvaluationConfig, RewardConfig, RunConfig
from rl4bio.types import Sample

OPTIONS = {"A": "x", "B": "y"}


def sample(uid: str, target: str | None, options: dict[str, str] | None = None) -> Sample:
    return Sample(uid=uid, prompt="p", target=target, extra={"options": options} if options else {})


def names_of(samples: list[Sample]) -> list[str]:
    return [kind.name for kind in kinds_of(samples)]


def test_kinds() -> None:
    verdicts = [sample("1", "yes"), sample("2", "maybe")]
    assert names_of(verdicts) == ["verdict", "verdict"]
    mixed = [sample("1", "A", OPTIONS), sample("2", "sepsis"), sample("3", None), sample("4", "No")]
    assert names_of(mixed) == ["choice", "open", "open", "open"]
    # "no" is a short answer to an open question here, not a label
    assert names_of([sample("1", "no"), sample("2", "sepsis"), sample("3", "gout")])[0] == "open"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([sample("1", "C", OPTIONS)], "item 1 has the label 'C'; .* scores A, B there"),
        ([sample("1", None, OPTIONS)], "item 1 has the label None"),
        (
            [sample("1", "yes"), sample("2", "no"), sample("3", "perhaps")],
            "item 3 has the label 'perhaps'; .* scores yes, no, maybe there",
        ),
    ],
)
def test_labels_that_cannot_be_scored(samples: list[Sample], message: str) -> None:
    with pytest.raises(DataError, match=message):
        kinds_of(samples)


def test_classes_of_a_choice_are_the_letters_that_are_right_somewhere() -> None:
    letters = [sample("1", "D"), sample("2", "A"), sample("3", "D")]
    assert Items(kind=KINDS["choice"], samples=letters).labels == ("A", "D")
    assert Items(kind=KINDS["open"], samples=letters).labels == ()
    assert Items(kind=KINDS["verdict"], samples=[]).labels == ("yes", "no", "maybe")


def test_a_subset_of_open_questions_is_drawn_and_not_the_first_of_the_alphabet() -> None:
    samples = [sample(f"{n}", f"{'abcdefghij'[n % 10]}-answer-{n}") for n in range(100)]
    samples += [sample(f"c{n}", "AB"[n % 2], OPTIONS) for n in range(100)]
    kinds = dict(zip((s.uid for s in samples), kinds_of(samples), strict=True))
    chosen = choose_items(samples, kinds, 20, seed=1)
    open_ones = [s for s in chosen if kinds[s.uid].name == "open"]
    assert len(chosen) == 20
    assert len(open_ones) == 10  # as common as the others
    assert {str(s.target)[0] for s in open_ones} > {"a", "b"}
    assert max(str(s.target)[0] for s in open_ones) > "e"
    assert chosen == choose_items(samples, kinds, 20, seed=1)
    assert chosen != choose_items(samples, kinds, 20, seed=2)
    assert all(s.target != "open" for s in chosen)


def config(*, modes: list[str], rewards: list[str]) -> RunConfig:
    return RunConfig(
        name="x",
        evaluation=EvaluationConfig(modes=modes),  # type: ignore[arg-type]
        rewards=[RewardConfig(name=name) for name in rewards],
    )


def test_open_questions_need_rewards_and_a_written_answer() -> None:
    check_open(config(modes=["sampled", "logprob"], rewards=["semantic"]))
    with pytest.raises(ConfigError, match="rewards: is empty"):
        check_open(config(modes=["greedy"], rewards=[]))
    with pytest.raises(ConfigError, match=r"evaluation\.modes: got \['logprob'\], but"):
        check_open(config(modes=["logprob"], rewards=["semantic"]))


@pytest.mark.parametrize("modes", [[], ["greedy", "greedy"]])
def test_modes_are_named_once(modes: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.modes: got"):
        config(modes=modes, rewards=[])


# --- several tasks ------------------------------------------------------------------------------

SCALE = {"low": 0.0, "high": 10.0}


def number(uid: str, value: float, **changed: Any) -> Sample:
    extra = {
        "kind": "bin",
        "task": "Caco2",
        "label": value,
        "scale": SCALE,
        "constant": {"bin": 300, "mae": 100.0},
    }
    return Sample(uid=uid, prompt="p", target="500", question=uid, extra=extra | changed)


def letter(uid: str, target: str, task: str) -> Sample:
    extra = {"kind": "option", "task": task, "options": OPTIONS}
    return Sample(uid=uid, prompt="p", target=target, question=uid, extra=extra)


@dataclass(kw_only=True)
class SeveralTasks(Corpus):
    """Two tasks of letters and one of numbers."""

    def samples(self, split: Split) -> Sequence[Sample]:
        letters = [
            letter(f"{split}{task}{n}", "AB"[n % 2], task) for n in range(20) for task in "XY"
        ]
        return [*letters, *(number(f"{split}n{n}", float(n)) for n in range(20))]


def test_every_task_is_a_part_of_its_own() -> None:
    parts = find_items(SeveralTasks(), config(modes=["greedy"], rewards=[]))
    assert [(p.kind.name, p.task, p.name, len(p.samples)) for p in parts] == [
        ("option", "X", "X", 20),
        ("option", "Y", "Y", 20),
        ("bin", "Caco2", "Caco2", 20),
    ]
    assert parts[2].labels == ()
    # bin 300 of the scale 0 to 10, and the mean of 0 to 19
    said = constant_answers(parts[2])
    assert [*said] == ["training median 3", "training mean 9.5"]
    assert {answer.strict for answer in said["training mean 9.5"]} == {"950"}
    assert Items(kind=KINDS["bin"], samples=[], task="a/b c").name == "a_b_c"


def test_a_subset_keeps_the_mix_of_tasks_and_of_letters() -> None:
    run = config(modes=["greedy"], rewards=[])
    run.evaluation.max_items = 12
    parts = find_items(SeveralTasks(), run)
    assert [len(part.samples) for part in parts] == [4, 4, 4]
    for part in parts[:2]:
        assert sorted(str(sample.target) for sample in part.samples) == ["A", "A", "B", "B"]
    assert len({sample.extra["label"] for sample in parts[2].samples}) == 4


def test_numbers_have_to_be_written() -> None:
    with pytest.raises(ConfigError, match="the test split has numbers; add greedy or sampled"):
        find_items(SeveralTasks(), config(modes=["logprob"], rewards=[]))


@pytest.mark.parametrize(
    "changed",
    [
        {"label": float("nan")},
        {"label": None},
        {"scale": {"low": 1.0, "high": 1.0}},
        {"scale": {}},
        {"constant": {}},
    ],
)
def test_numbers_that_cannot_be_scored(changed: dict[str, Any]) -> None:
    assert names_of([number("1", 2.0)]) == ["bin"]
    with pytest.raises(DataError, match="test item 1 has the label"):
        kinds_of([number("1", 2.0, **changed)])


def test_reactants_and_designs_are_open() -> None:
    samples = [
        Sample(uid="1", prompt="p", target="CCO.CN", extra={"kind": "reactants"}),
        Sample(uid="2", prompt="p", extra={"kind": "design"}),
    ]
    assert names_of(samples) == ["reactants", "design"]
    assert all(kind.needs_rewards for kind in kinds_of(samples))
