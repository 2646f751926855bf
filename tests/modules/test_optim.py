"""Warm-up and decay of the learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rl4bio.modules.optim import build_optimizer, learning_rate
from rl4bio.sections import OptimConfig


def rates(max_steps: int = 6, **options: Any) -> list[float]:
    config = OptimConfig(lr=2.0, **options)
    return [learning_rate(config, step, max_steps) for step in range(max_steps)]


def test_warm_up_reaches_the_peak_and_stays() -> None:
    # 1/4, 2/4, 3/4, 4/4 of 2.0, then constant.
    assert rates(warmup_steps=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert rates() == [2.0] * 6


def test_linear_decay_ends_at_the_floor() -> None:
    # Steps 2..5 are 0, 1/3, 2/3 and all of the way from 2.0 to 0.5.
    assert rates(warmup_steps=2, schedule="linear", final_lr_fraction=0.25) == pytest.approx(
        [1.0, 2.0, 2.0, 1.5, 1.0, 0.5]
    )


def test_cosine_decay_is_half_way_in_the_middle() -> None:
    values = rates(max_steps=5, schedule="cosine")
    assert values[0] == 2.0
    assert values[2] == pytest.approx(1.0)  # cos(pi / 2) = 0
    assert values[4] == pytest.approx(0.0)


def test_steps_after_the_plan_keep_the_floor() -> None:
    config = OptimConfig(lr=2.0, schedule="linear", final_lr_fraction=0.1)
    assert learning_rate(config, 50, 10) == pytest.approx(0.2)
    assert learning_rate(config, 0, 1) == 2.0  # a single step is not a decayed one


def test_optimizer_takes_the_options() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    config = OptimConfig(lr=0.1, betas=[0.5, 0.6], weight_decay=0.3)
    group = build_optimizer([weight], config).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.5, 0.6), 0.3)
