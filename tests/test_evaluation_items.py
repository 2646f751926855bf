"""rl4bio.evaluation_items: kinds, checks and the subset."""

from __future__ import annotations

import pytest

from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation_items import Items, check_open, choose_items, kinds_of
from rl4bio.sections import EvaluationConfig, RewardConfig, RunConfig
from rl4bio.types import Sample

OPTIONS = {"A": "x", "B": "y"}


def sample(uid: str, target: str | None, options: dict[str, str] | None = None) -> Sample:
    return Sample(uid=uid, prompt="p", target=target, extra={"options": options} if options else {})


def test_kinds() -> None:
    verdicts = [sample("1", "yes"), sample("2", "maybe")]
    assert kinds_of(verdicts) == ["verdict", "verdict"]
    mixed = [sample("1", "A", OPTIONS), sample("2", "sepsis"), sample("3", None), sample("4", "No")]
    assert kinds_of(mixed) == ["choice", "open", "open", "open"]
    # "no" is a short answer to an open question here, not a label
    assert kinds_of([sample("1", "no"), sample("2", "sepsis"), sample("3", "gout")])[0] == "open"


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
    assert Items(kind="choice", samples=letters).labels == ("A", "D")
    assert Items(kind="open", samples=letters).labels == ()
    assert Items(kind="verdict", samples=[]).labels == ("yes", "no", "maybe")


def test_a_subset_of_open_questions_is_drawn_and_not_the_first_of_the_alphabet() -> None:
    samples = [sample(f"{n}", f"{'abcdefghij'[n % 10]}-answer-{n}") for n in range(100)]
    samples += [sample(f"c{n}", "AB"[n % 2], OPTIONS) for n in range(100)]
    kinds = dict(zip((s.uid for s in samples), kinds_of(samples), strict=True))
    chosen = choose_items(samples, kinds, 20, seed=1)
    open_ones = [s for s in chosen if kinds[s.uid] == "open"]
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
