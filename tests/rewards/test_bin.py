"""Tests of the reward for predicted bins."""

from __future__ import annotations

import math
import random
from statistics import fmean, median_low
from typing import Any

import pytest

from rl4bio.answers.bins import bin_text
from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.bin import BinReward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample


def question(target: str | None = "400", mae: float = 100.0, **extra: Any) -> Sample:
    fields = {"kind": "bin", "answer_form": "plain", "constant": {"bin": 500, "mae": mae}}
    return Sample(uid="q2", prompt="", target=target, extra={**fields, **extra})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("400", 1),
        (" 400<eos>", 1),
        ("450", 0.5),  # 1 - 50 / 100
        ("350", 0.5),
        ("500", 0),
        ("600", -1),
        ("700", -2),
        ("000", -3),
        ("1000", -5),
        # Nothing read: the furthest bin is 1000.
        ("", -5),
        ("4", -5),
        ("400.0", -5),
        ("0400", -5),
        ("1001", -5),
        ("400 or 500", -5),
        ("The answer is 400", -5),
    ],
)
def test_linear_in_the_error(answer: str, expected: float) -> None:
    assert BinReward(floor=None).score(answer, question()) == pytest.approx(expected)
    assert BinReward().score(answer, question()) == pytest.approx(max(-1, expected))
    assert BinReward(floor=0).score(answer, question()) == pytest.approx(max(0, expected))


def training(seed: int, skew: float) -> list[Sample]:
    """Samples of 401 bins with their median and the mean distance from it."""
    rng = random.Random(seed)
    bins = [round(1000 * rng.random() ** skew) for _ in range(401)]
    middle = median_low(bins)
    constant = {"bin": middle, "mae": fmean(abs(b - middle) for b in bins)}
    return [question(bin_text(b), constant=constant) for b in bins]


@pytest.mark.parametrize("skew", [1.0, 3.0, 0.3])
def test_the_median_throughout_earns_0_and_no_other_constant_more(skew: float) -> None:
    samples = training(1, skew)
    reward = BinReward(floor=None)
    means = {
        number: fmean(reward([bin_text(number)] * len(samples), samples))
        for number in [*range(0, 1001, 50), samples[0].extra["constant"]["bin"]]
    }
    best = samples[0].extra["constant"]["bin"]
    assert means.pop(best) == pytest.approx(0, abs=1e-12)
    assert all(mean <= 1e-12 for mean in means.values())
    # The floor forgives what is far off, so a constant earns a little; answers earn 1.
    floored = fmean(BinReward()([bin_text(best)] * len(samples), samples))
    assert 0 <= floored < 0.2
    assert BinReward()([str(sample.target) for sample in samples], samples) == [1] * len(samples)


def test_no_number_is_worse_than_no_answer() -> None:
    for target in ("000", "137", "500", "1000"):
        for floor in (None, -1.0, 0.0):
            reward, sample = BinReward(floor=floor), question(target, 120.0)
            nothing = reward.score("no idea", sample)
            worst = min(reward.score(bin_text(number), sample) for number in range(1001))
            assert nothing == worst


def test_answers_in_tags() -> None:
    sample = question(answer_form="tags")
    tagged = "<reasoning>Greasy.</reasoning><answer>400</answer><end_of_turn>"
    assert BinReward().score(tagged, sample) == 1
    assert BinReward().score("400", sample) == -1


def test_the_raw_value_is_the_error_in_the_unit_of_the_label() -> None:
    scorer = WeightedRewards.from_config([RewardConfig(name="bin")])
    known = question("500", label=1.5, scale={"low": -1.5, "high": 4.5})  # logD, 0.006 a bin
    table = scorer(["500", "600", "none", "600"], [known, known, known, question()])
    assert table.raw == {"bin_error": pytest.approx([0, 0.6, math.nan, math.nan], nan_ok=True)}


def test_what_cannot_be_scored() -> None:
    reward = BinReward()
    for sample in (question(kind="option"), question(None), Sample(uid="1", prompt="")):
        assert math.isnan(reward.score("400", sample))
    for sample in (question("400", 0.0), question("40"), question(constant={})):
        with pytest.raises(ValueError, match=r"sample q2: needs a target of three digits"):
            reward.score("400", sample)
    for floor in (0.1, -math.inf, math.nan):
        with pytest.raises(ConfigError, match=r"rewards\[0\].options.floor: got"):
            REWARDS.build("bin", {"floor": floor}, where="rewards[0]")
