"""Advantages and weights of replayed rows, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rl4bio.functional.replay import replay_advantages, replay_weights

STORED = torch.tensor([0.5, 2.0, 0.0])
SAMPLED = torch.tensor([1.0, -3.0, 0.0, 2.0])
MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_each_kind_of_advantage() -> None:
    found = replay_advantages(STORED, SAMPLED, kind="mean_abs")
    torch.testing.assert_close(found, torch.tensor([1.5, 1.5, 1.5]))  # (1 + 3 + 0 + 2) / 4
    torch.testing.assert_close(replay_advantages(STORED, SAMPLED, kind="stored"), STORED)
    for sampled in (SAMPLED, torch.zeros(4)):  # also where nothing was worth more than the rest
        unit = replay_advantages(STORED, sampled, kind="unit")
        torch.testing.assert_close(unit, torch.ones(3))
    with pytest.raises(ValueError, match="unknown kind"):
        replay_advantages(STORED, SAMPLED, kind="other")  # type: ignore[arg-type]


def test_truncated_weighs_by_what_the_policy_has_become() -> None:
    now = torch.tensor([[math.log(0.2), math.log(0.9), 0.0], [math.log(0.4), 0.0, 0.0]])
    then = torch.tensor([[math.log(0.4), math.log(0.1), 0.0], [math.nan, 0.0, 0.0]])
    weights = replay_weights(now, then, MASK, importance="truncated", cap=2.0)
    # .2 / .4; .9 / .1, capped; padding; and a row that no policy sampled.
    expected = torch.tensor([[0.5, 2.0, 1.0], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(weights, expected)


def test_on_policy_weighs_nothing() -> None:
    now = torch.zeros(2, 3)
    assert replay_weights(now, now - 5, MASK, importance="on_policy", cap=2.0) is None
    with pytest.raises(ValueError, match="unknown importance"):
        replay_weights(now, now, MASK, importance="other", cap=2.0)  # type: ignore[arg-type]
