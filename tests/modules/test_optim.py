"""Warm-up and decay of the learning rate; Muon and 8-bit optimisers."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import pytest
import torch

from rl4bio.errors import MissingPackageError
from rl4bio.modules.optim import JoinedOptimizer, build_optimizer, learning_rate_share
from rl4bio.sections import OptimConfig
from rl4bio.storage import flatten_state, unflatten_state


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


def test_restarts_begin_at_the_peak_and_end_at_the_floor() -> None:
    """Six steps in two cycles of three: cosine of 0, a half and all of the way, twice."""
    options: dict[str, Any] = {"schedule": "cosine_with_restarts", "num_cycles": 2}
    assert rates(**options) == pytest.approx([2, 1, 0, 2, 1, 0])
    # After two steps of warm-up, from 2.0 to the floor of 0.5; the middle of three is 1.25.
    assert rates(8, warmup_steps=2, final_lr_fraction=0.25, **options) == pytest.approx(
        [1, 2, 2, 1.25, 0.5, 2, 1.25, 0.5]
    )
    # Seven steps make cycles of four and three: 0, 1/3, 2/3 and all of the way first.
    assert rates(7, **options) == pytest.approx([2, 1.5, 0.5, 0, 2, 1, 0])


def test_one_cycle_is_cosine() -> None:
    one = rates(9, schedule="cosine_with_restarts", num_cycles=1, warmup_steps=3)
    assert one == pytest.approx(rates(9, schedule="cosine", warmup_steps=3))


def test_steps_after_the_plan_keep_the_floor() -> None:
    config = OptimConfig(schedule="linear", final_lr_fraction=0.1)
    assert learning_rate_share(config, 50, 10) == pytest.approx(0.1)
    assert learning_rate_share(config, 0, 1) == 1.0  # a single step is not a decayed one
    config = OptimConfig(schedule="cosine_with_restarts", final_lr_fraction=0.1)
    assert learning_rate_share(config, 50, 10) == pytest.approx(0.1)


def test_optimizer_takes_the_options() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    config = OptimConfig(lr=0.1, betas=[0.5, 0.6], weight_decay=0.3)
    group = build_optimizer([("weight", weight)], config).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.5, 0.6), 0.3)


def layers(width: int = 8) -> torch.nn.Module:
    torch.manual_seed(0)
    words, narrow = (5, 4) if width == 8 else (width, width)
    return torch.nn.ModuleDict(
        {
            "tok_emb": torch.nn.Embedding(words, narrow),
            "blocks": torch.nn.ModuleList(
                [torch.nn.Linear(narrow, width), torch.nn.LayerNorm(width)]
            ),
            "head": torch.nn.Linear(width, words, bias=False),
        }
    )


def test_muon_takes_the_matrices_of_the_layers_alone() -> None:
    model = layers()
    config = OptimConfig(name="muon", lr=0.1, muon_lr=0.02, weight_decay=0.5)
    optimizer = build_optimizer(model.named_parameters(), config)
    assert isinstance(optimizer, JoinedOptimizer)
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


NAMES = ["muon", "adamw8bit", "paged_adamw8bit", "lion8bit"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_a_restored_optimizer_goes_on_as_before(name: Any) -> None:
    """Through the form of a checkpoint: named tensors and plain JSON."""
    needs_bitsandbytes(name)

    def run(model: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * group["peak_lr"]
        optimizer.step()

    config = OptimConfig(name=name, lr=0.1, muon_lr=0.02)
    first = layers(width=80)  # 6400 weights in a matrix: small ones have no 8-bit state
    optimizer = build_optimizer(first.named_parameters(), config)
    run(first, optimizer, 1)
    second = layers(width=80)
    second.load_state_dict(first.state_dict())
    restored = build_optimizer(second.named_parameters(), config)
    tensors, plain = flatten_state(copy.deepcopy(optimizer.state_dict()))
    restored.load_state_dict(unflatten_state(tensors, json.loads(json.dumps(plain))))
    run(first, optimizer, 2)
    run(second, restored, 2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def needs_bitsandbytes(name: str) -> None:
    if name != "muon":
        pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_eight_bits_inside_the_layers_alone(name: Any) -> None:
    needs_bitsandbytes(name)
    model = layers(width=80)
    config = OptimConfig(name=name, lr=0.1, betas=[0.7, 0.8], weight_decay=0.5)
    optimizer = build_optimizer(model.named_parameters(), config)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for group in optimizer.param_groups:
        assert (group["peak_lr"], group["weight_decay"]) == (0.1, 0.5)
        assert tuple(group["betas"])[:2] == (0.7, 0.8)
    dtypes = {
        key: part.state[p]["state1"].dtype
        for key, p in model.named_parameters()
        for part in optimizer.parts  # type: ignore[attr-defined]
        if p in part.state
    }
    assert dtypes == {
        "blocks.0.weight": torch.uint8,
        "blocks.0.bias": torch.float32,  # 80 numbers
        "blocks.1.weight": torch.float32,
        "blocks.1.bias": torch.float32,
        "tok_emb.weight": torch.float32,  # 6400 numbers, but an embedding
        "head.weight": torch.float32,
    }


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.filterwarnings("ignore:Paged optimizers")
def test_eight_bits_follow_the_exact_update(name: Any) -> None:
    """Ten steps on one matrix against the update rule in float64, within the rounding of 8 bits."""
    needs_bitsandbytes(name)
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(64, 80))
    config = OptimConfig(name=name, lr=0.01, betas=[0.9, 0.99], weight_decay=0.1)
    optimizer = build_optimizer([("blocks.0.weight", weight)], config)
    exact, m, v = weight.detach().double(), 0.0, 0.0
    start = exact.clone()
    direction = torch.randn(64, 80)
    for step in range(1, 11):
        grad = direction + 0.1 * torch.randn(64, 80)
        weight.grad = grad.clone()
        optimizer.step()
        g = grad.double()
        exact = exact * (1 - 0.01 * 0.1)
        if name == "lion8bit":
            exact = exact - 0.01 * torch.sign(0.9 * m + 0.1 * g)
            m = 0.99 * m + 0.01 * g
        else:
            m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
            scale = (v / (1 - 0.99**step)) ** 0.5 + 1e-8
            exact = exact - 0.01 * m / (1 - 0.9**step) / scale
    moved = (exact - start).norm()
    assert float((weight.detach().double() - exact).norm() / moved) < 0.05


def test_eight_bits_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackageError, match=r"optim\.name: lion8bit needs bitsandbytes"):
        build_optimizer(layers().named_parameters(), OptimConfig(name="lion8bit"))
