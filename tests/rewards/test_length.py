"""Tests of the length reward."""

from __future__ import annotations

import dataclasses
import math

import pytest

from rl4bio.rewards.length import LengthReward
from rl4bio.types import Sample


def completion(num_words: int, answer: str = "yes") -> str:
    thought = " ".join(f"word{i}" for i in range(num_words))
    return f"<thought>{thought}</thought><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("num_words", "value"),
    # Range 20 to 40, falloff 0.5: 0 up to 10 words, 1 from 20 to 40, 0 from 60 on.
    [(5, 0.0), (10, 0.0), (15, 0.5), (20, 1.0), (30, 1.0), (40, 1.0), (50, 0.5), (60, 0), (99, 0)],
)
def test_slopes(num_words: int, value: float, sample: Sample) -> None:
    reward = LengthReward(min_words=20, max_words=40)
    assert reward.score(completion(num_words), sample) == pytest.approx(value)


def test_hard_edges_and_no_lower_bound(sample: Sample) -> None:
    reward = LengthReward(min_words=0, max_words=3, falloff=0.0)
    assert [reward.score(completion(n), sample) for n in (1, 3, 4)] == [1.0, 1.0, 0.0]


def test_length_pays_inside_a_right_verdict_only(sample: Sample) -> None:
    reward = LengthReward()
    assert reward.score(completion(50), sample) == 1.0
    assert reward.score(completion(50, "no"), sample) == 0.0
    assert reward.score(" ".join(["word"] * 50), sample) == 0.0
    assert math.isnan(reward.score(completion(50), dataclasses.replace(sample, target=None)))


def test_within_structure_needs_the_form_alone(sample: Sample) -> None:
    reward = LengthReward(within="structure")
    assert reward.score(completion(50, "no"), dataclasses.replace(sample, target=None)) == 1.0
    assert reward.score("<thought>a b c</thought>", sample) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"min_words": -1},
        {"min_words": 10, "max_words": 9},
        {"min_words": 0, "max_words": 0},
        {"falloff": 1.5},
        {"falloff": math.nan},
    ],
)
def test_impossible_ranges_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs"):
        LengthReward(**options)  # type: ignore[arg-type]
