"""Tests of the weighted sum and of its guard against faulty rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from rl4bio.errors import ConfigError, RewardError
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards, weighted_total
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

COMPLETION = "<thought>Colds were shorter.</thought><answer>yes</answer>"


@dataclass(kw_only=True)
class Batch(Reward):
    """Gives what it is told to give."""

    values: Any = None

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        if isinstance(self.values, BaseException):
            raise self.values
        return self.values


@dataclass(kw_only=True)
class Single(Reward):
    """Fails at the second completion."""

    error: BaseException

    def score(self, completion: str, sample: Sample) -> float:
        if completion.startswith("second"):
            raise self.error
        return 1.0


def scorer(**rewards: Reward) -> WeightedRewards:
    return WeightedRewards(rewards=rewards, weights=dict.fromkeys(rewards, 1.0))


def samples(count: int) -> list[Sample]:
    return [Sample(uid=f"u{i}", prompt="", target="yes") for i in range(count)]


# --- building -------------------------------------------------------------------------------------


def test_from_config_builds_and_weights(sample: Sample) -> None:
    made = WeightedRewards.from_config(
        [
            RewardConfig(name="verdict", weight=2.0),
            RewardConfig(name="structure", weight=0.5, options={"graded": True}),
        ]
    )
    table = made([COMPLETION, "<thought>Colds", "x"], [sample] * 3)
    assert table.parts == {"verdict": [1.0, 0.0, 0.0], "structure": [1.0, 0.2, 0.0]}
    assert table.total == [2.5, 0.1, 0.0]
    assert table.weights == {"verdict": 2.0, "structure": 0.5}


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ([], "rewards: is empty"),
        (
            [RewardConfig(name="verdict"), RewardConfig(name="verdict")],
            r"rewards\[1\].name.*rewards\[0\] already",
        ),
        (
            [RewardConfig(name="qed", weight=-1.0)],
            r"rewards\[0\].weight: got -1.0, but 'qed' is 0 for what is no molecule",
        ),
        ([RewardConfig(name="verdikt")], r"rewards\[0\].name.*did you mean 'verdict'"),
        (
            [RewardConfig(name="verdict", options={"wrong_credit": 0.5})],
            r"rewards\[0\].options.wrong_credit: got 0.5",
        ),
    ],
)
def test_from_config_refuses(configs: list[RewardConfig], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WeightedRewards.from_config(configs)


# --- the sum --------------------------------------------------------------------------------------


def test_parts_that_could_not_be_scored_are_left_out_of_the_sum() -> None:
    weights = {"a": 2.0, "b": -1.0}
    assert weighted_total({"a": 0.5, "b": 0.25}, weights) == 0.75
    assert weighted_total({"a": math.nan, "b": 0.25}, weights) == -0.25
    assert math.isnan(weighted_total({"a": math.nan, "b": math.nan}, weights))


def test_a_sample_without_target_keeps_its_other_parts() -> None:
    made = WeightedRewards.from_config([RewardConfig(name=n) for n in ("verdict", "structure")])
    table = made([COMPLETION], [Sample(uid="1", prompt="")])
    assert math.isnan(table.parts["verdict"][0])
    assert table.total == [1.0]


def test_no_rows_give_an_empty_table() -> None:
    table = scorer(a=Batch(values=[]))([], [])
    assert (table.total, table.parts) == ([], {"a": []})


def test_the_caller_must_give_one_sample_a_completion() -> None:
    with pytest.raises(ValueError, match="2 completions for 3 samples"):
        scorer(a=Batch(values=[1, 1]))(["a", "b"], samples(3))


# --- faulty rewards -------------------------------------------------------------------------------


class ZeroDim:
    """A 0-d tensor as other libraries make them."""

    ndim = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (0.25, 0.25),
        (-3, -3.0),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(2), 2.0),
        (np.array(0.5), 0.5),
        (ZeroDim(0.5), 0.5),
        (None, math.nan),
        (math.nan, math.nan),
        (np.float32("nan"), math.nan),
    ],
)
def test_accepted_values(value: Any, number: float) -> None:
    (found,) = scorer(a=Batch(values=[value]))(["x"], samples(1)).parts["a"]
    assert type(found) is float
    assert found == number or (math.isnan(found) and math.isnan(number))


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(True),
        ZeroDim(True),
        "1.0",
        b"1",
        math.inf,
        -math.inf,
        np.float32("inf"),
        1e39,  # above float32
        10**400,
        [1.0],
        (1.0,),
        np.array([1.0]),
        np.array([[1.0]]),
        ZeroDim("x"),
        1 + 0j,
        {},
        object(),
    ],
)
def test_refused_values(value: Any) -> None:
    with pytest.raises(RewardError, match=r"reward 'a': value 1 is .*expected a finite number"):
        scorer(a=Batch(values=[1.0, value]))(["x", "y"], samples(2))


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_wrong_lengths_are_refused_and_one_value_is_not_spread(count: int, kind: Any) -> None:
    texts = ["x"] * count
    for given in {0, 1, count - 1, count + 1} - {count}:
        message = f"reward 'a': expected {count} rewards, got {given}$"
        with pytest.raises(RewardError, match=message):
            scorer(a=Batch(values=kind([0.5] * given)))(texts, samples(count))
    table = scorer(a=Batch(values=kind([0.5] * count)))(texts, samples(count))
    assert table.parts["a"] == [0.5] * count


@pytest.mark.parametrize("values", [None, 1.0, "12", {0: 1.0, 1: 1.0}, np.eye(2), iter([1.0, 1.0])])
def test_what_is_no_list_is_refused(values: Any) -> None:
    with pytest.raises(RewardError, match="reward 'a': expected a list of 2 rewards, got "):
        scorer(a=Batch(values=values))(["x", "y"], samples(2))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        KeyError("boom"),
        RecursionError("boom"),
        ZeroDivisionError("boom"),
        MemoryError("boom"),
        SystemExit("boom"),
        RewardError("boom"),
    ],
)
def test_an_exception_names_reward_sample_and_completion(error: BaseException) -> None:
    texts = ["first", "second\n" + "x" * 500]
    with pytest.raises(RewardError) as caught:
        scorer(bad=Single(error=error))(texts, samples(2))
    message = str(caught.value)
    assert "reward 'bad' raised" in message
    assert type(error).__name__ in message
    assert "boom" in message
    assert f"sample u1, completion {texts[1][:200]!r}" in message
    assert "x" * 201 not in message
    assert caught.value.__cause__ is error
    with pytest.raises(RewardError, match="batch of 2 that starts with sample u0"):
        scorer(bad=Batch(values=error))(texts, samples(2))


def test_a_system_exit_with_code_0_does_not_end_the_run() -> None:
    with pytest.raises(RewardError, match="SystemExit"):
        scorer(bad=Single(error=SystemExit(0)))(["second"], samples(1))


def test_ctrl_c_stays_ctrl_c() -> None:
    for reward in (Single(error=KeyboardInterrupt()), Batch(values=KeyboardInterrupt())):
        with pytest.raises(KeyboardInterrupt):
            scorer(bad=reward)(["second"], samples(1))


def test_a_reward_cannot_change_what_others_see() -> None:
    @dataclass(kw_only=True)
    class Vandal(Reward):
        def __call__(self, completions: Any, samples: Any) -> list[float]:
            count = len(completions)
            completions.clear()
            samples[0].target = "no"
            samples[0].extra["x"] = 1
            samples.clear()
            return [0.0] * count

    @dataclass(kw_only=True)
    class Witness(Reward):
        def score(self, completion: str, sample: Sample) -> float:
            return float(sample.target == "yes" and not sample.extra)

    texts, rows = ["x", "y"], samples(2)
    table = scorer(vandal=Vandal(), witness=Witness())(texts, rows)
    assert table.parts["witness"] == [1.0, 1.0]
    assert texts == ["x", "y"]
    assert [row.target for row in rows] == ["yes", "yes"]
