"""Warm-up and decay of the learning rate."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from rl4bio.modules.optim import MuonAdamW, build_optimizer, learning_rate_share
from rl4bio.sections import OptimConfig


def rates(max_steps: int = 6, **options: Any) -> list[float]:
    config = OptimConfig(**options)
    return [2.0 * learning_rate_share(config, step, max_steps) for step in range(max_steps)]


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
    config = OptimConfig(schedule="linear", final_lr_fraction=0.1)
    assert learning_rate_share(config, 50, 10) == pytest.approx(0.1)
    assert learning_rate_share(config, 0, 1) == 1.0  # a single step is not a decayed one


def test_optimizer_takes_the_options() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    config = OptimConfig(lr=0.1, betas=[0.5, 0.6], weight_decay=0.3)
    group = build_optimizer([("weight", weight)], config).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.5, 0.6), 0.3)


def layers() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {
            "tok_emb": torch.nn.Embedding(5, 4),
            "blocks": torch.nn.ModuleList([torch.nn.Linear(4, 8), torch.nn.LayerNorm(8)]),
            "head": torch.nn.Linear(8, 5, bias=False),
        }
    )


def test_muon_takes_the_matrices_of_the_layers_alone() -> None:
    model = layers()
    config = OptimConfig(name="muon", lr=0.1, muon_lr=0.02, weight_decay=0.5)
    optimizer = build_optimizer(model.named_parameters(), config)
    assert isinstance(optimizer, MuonAdamW)
    muon, adamw = optimizer.param_groups
    assert [tuple(p.shape) for p in muon["params"]] == [(8, 4)]
    assert sorted(tuple(p.shape) for p in adamw["params"]) == [(5, 4), (5, 8), (8,), (8,), (8,)]
    assert (muon["peak_lr"], muon["weight_decay"]) == (0.02, 0.5)
    assert (adamw["peak_lr"], adamw["weight_decay"]) == (0.1, 0.0)


def test_a_muon_step_is_orthogonal_and_scaled_by_the_shape() -> None:
    """Without decay the change is lr * sqrt(rows / columns) * U V^T, up to Newton-Schulz."""
    model = layers()
    config = OptimConfig(name="muon", muon_lr=0.02)
    optimizer = build_optimizer(model.named_parameters(), config)
    weight = model["blocks"][0].weight  # type: ignore[index]
    before = weight.detach().clone()
    torch.manual_seed(1)
    weight.grad = torch.randn(8, 4)
    optimizer.step()
    values = torch.linalg.svdvals((before - weight.detach()) / (0.02 * 2**0.5))
    # The quintic iteration lands singular values between about 0.7 and 1.2, not on 1.
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_restored_muon_optimizer_goes_on_as_before() -> None:
    def run(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * group["peak_lr"]
        optimizer.step()

    config = OptimConfig(name="muon", lr=0.1, muon_lr=0.02)
    first = layers()
    optimizer = build_optimizer(first.named_parameters(), config)
    run(first, optimizer, 1)
    second = layers()
    second.load_state_dict(first.state_dict())
    restored = build_optimizer(second.named_parameters(), config)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(first, optimizer, 2)
    run(second, restored, 2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
