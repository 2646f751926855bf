"""The thresholds of the signs that training teaches nothing, each from both sides."""

from __future__ import annotations

import math

import pytest

from rl4bio.callbacks.learning_signs import signs_in

HEALTHY = {
    "reward/zero_spread_fraction": 0.5,
    "reward/verdict_mean": 0.4,
    "reward/total_mean": 0.4,
    "rollout/truncated_fraction": 0.1,
    "rollout/completion_tokens_mean": 40.0,
    "train/grad_norm": 0.3,
    "train/entropy": 1.5,
    "train/kl": 0.01,
}


def found(change: dict[str, float]) -> list[str]:
    """The signs of three steps with the change, after three healthy ones."""
    rows = [{**HEALTHY, **change}] * 3
    return [sign.name for sign in signs_in([HEALTHY] * 3, rows)]


@pytest.mark.parametrize(
    ("change", "signs"),
    [
        ({}, []),
        ({"reward/zero_spread_fraction": 1.0}, ["no_spread"]),
        ({"reward/zero_spread_fraction": 0.93}, ["no_spread"]),
        ({"reward/zero_spread_fraction": 0.85}, []),
        ({"rollout/truncated_fraction": 0.95}, ["all_truncated"]),
        ({"rollout/truncated_fraction": 0.94}, []),
        ({"reward/verdict_mean": math.nan}, ["unscored"]),
        ({"reward/total_mean": math.nan}, []),  # the run's own error
        ({"train/grad_norm": 0.0}, ["no_gradient"]),
        ({"train/grad_norm": 0.0, "reward/zero_spread_fraction": 1.0}, ["no_spread"]),
        ({"train/entropy": 0.09}, ["entropy_lost"]),
        ({"train/entropy": 0.11}, []),
        ({"train/entropy": math.nan}, []),
        ({"train/kl": 5.1}, ["kl_runaway"]),
        ({"train/kl": 4.9}, []),
        (
            {"rollout/completion_tokens_mean": 81.0, "rollout/truncated_fraction": 0.6},
            ["length_runaway"],
        ),
        ({"rollout/completion_tokens_mean": 81.0, "rollout/truncated_fraction": 0.4}, []),
        ({"rollout/completion_tokens_mean": 79.0, "rollout/truncated_fraction": 0.6}, []),
    ],
)
def test_both_sides_of_each_threshold(change: dict[str, float], signs: list[str]) -> None:
    assert found(change) == signs


def test_one_good_step_is_enough() -> None:
    bad = {**HEALTHY, "reward/zero_spread_fraction": 1.0}
    assert signs_in([HEALTHY] * 3, [bad, HEALTHY, bad]) == []


def test_an_entropy_that_was_always_low_is_no_collapse() -> None:
    low = {**HEALTHY, "train/entropy": 0.05}
    assert signs_in([low] * 3, [low] * 3) == []


def test_fine_tuning_on_demonstrations_has_fewer_signs() -> None:
    rows = [{"train/loss": 1.0, "train/grad_norm": 0.2}] * 3
    assert signs_in(rows, rows) == []
    still = [{"train/loss": 1.0, "train/grad_norm": 0.0}] * 3
    assert [sign.name for sign in signs_in(still, still)] == ["no_gradient"]
