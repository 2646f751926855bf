"""Tests of the verdict reward."""

from __future__ import annotations

import dataclasses
import math

import pytest

from rl4bio.rewards.verdict import VerdictReward
from rl4bio.types import Sample


def completion(answer: str) -> str:
    return f"<thought>Colds were shorter.</thought><answer>{answer}</answer>"


def test_right_wrong_and_unparsed(sample: Sample) -> None:
    reward = VerdictReward()
    assert reward.score(completion("Yes."), sample) == 1.0
    assert reward.score(completion("no"), sample) == 0.0
    assert reward.score(completion("potato"), sample) == 0.0
    assert reward.score("yes", sample) == 0.0


def test_no_target_is_not_scored_and_a_foreign_one_is_refused(sample: Sample) -> None:
    reward = VerdictReward()
    assert math.isnan(reward.score(completion("yes"), dataclasses.replace(sample, target=None)))
    with pytest.raises(ValueError, match="target '\\(B\\)' is not yes, no or maybe"):
        reward.score(completion("yes"), dataclasses.replace(sample, target="(B)"))


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        ("yes", "no", 0.2),
        ("no", "yes", 0.2),
        ("maybe", "yes", 0.2),
        ("yes", "maybe", 0.0),
        ("no", "maybe", 0.0),
        ("maybe", "maybe", 1.0),
        ("yes", "potato", 0.0),
        ("yes", "yes or no", 0.0),
    ],
)
def test_wrong_credit_is_never_paid_for_maybe(
    target: str, answer: str, value: float, sample: Sample
) -> None:
    reward = VerdictReward(wrong_credit=0.2)
    assert reward.score(completion(answer), dataclasses.replace(sample, target=target)) == value


def test_wrong_credit_is_bounded() -> None:
    for value in (-0.1, 0.21, 1.0, math.nan):
        with pytest.raises(ValueError, match="wrong_credit"):
            VerdictReward(wrong_credit=value)


@pytest.mark.parametrize("credit", [0.0, 0.2])
def test_always_maybe_never_beats_always_yes(credit: float, records: list[Sample]) -> None:
    # 552 yes, 338 no, 110 maybe: always yes 0.552 + 0.448 credit, always maybe 0.110.
    reward = VerdictReward(wrong_credit=credit)
    mean = {
        label: sum(reward([completion(label)] * 1000, records)) / 1000
        for label in ("yes", "no", "maybe")
    }
    assert mean["yes"] == pytest.approx(0.552 + 0.448 * credit)
    assert mean["maybe"] == pytest.approx(0.110)
    assert mean["maybe"] < mean["no"] < mean["yes"]
