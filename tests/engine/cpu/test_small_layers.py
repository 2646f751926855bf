"""Norms of a rollout: equal to the module's own wherever they stand in for it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rl4bio.engine.cpu.small_layers import replace_norms
from rl4bio.engine.cpu.weights import rollout_weights

WIDTH = 24


class RMSNorm(nn.Module):
    """A norm that counts its calls, and whose variants below compute something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, WIDTH))
        self.eps = 1e-6
        self.calls = 0

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        self.calls += 1
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
        return y if gate is None else y * gate


class ShiftedRMSNorm(RMSNorm):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        return super().forward(x) + 1e-3


class EpsOutsideRMSNorm(RMSNorm):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        self.calls += 1
        return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + self.eps) * self.weight


class CentredRMSNorm(RMSNorm):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        return super().forward(x - x.mean(-1, keepdim=True))


def values(*shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1)) + 1


def inside(norm: Any, x: Tensor) -> Tensor:
    """The output with the cheaper form in place, and by it alone."""
    with torch.no_grad(), rollout_weights(norm, rows=8):
        norm(x)  # the first call may try the module's own
        own, norm.forward.own = norm.forward.own, None
        try:
            return norm(x)
        finally:
            norm.forward.own = own


@pytest.mark.parametrize("kind", [Gemma3RMSNorm, LlamaRMSNorm])
@pytest.mark.parametrize("shape", [(1, 8, WIDTH), (1, 3, 4, WIDTH)])
@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
def test_equals_the_definition_in_float64(
    kind: type[nn.Module], shape: tuple[int, ...], weight_dtype: torch.dtype
) -> None:
    norm: Any = kind(WIDTH, eps=1e-5).to(weight_dtype)
    nn.init.normal_(norm.weight)
    x = values(*shape)
    x[..., 0, :] *= 1e-3  # where eps counts
    scale = norm.weight.detach().double() + (kind is Gemma3RMSNorm)
    wide = x.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * scale
    y = inside(norm, x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=3e-6)


@pytest.mark.parametrize("kind", [Gemma3RMSNorm, LlamaRMSNorm])
@pytest.mark.parametrize("autocast", [False, True])
def test_in_bfloat16_no_further_from_exact_than_the_own(
    kind: type[nn.Module], autocast: bool
) -> None:
    norm: Any = kind(WIDTH).bfloat16()
    nn.init.normal_(norm.weight)
    x = values(64, WIDTH).bfloat16()
    exact = norm.double()(x.double()).double() if kind is LlamaRMSNorm else None
    norm.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        own, y = norm(x).detach(), inside(norm, x)
    assert y.dtype == own.dtype == torch.bfloat16
    if exact is None:  # which rounds once itself
        assert torch.equal(y, own)
    else:
        assert (y - exact).norm() <= (own - exact).norm()


def test_a_dtype_that_the_own_would_widen_is_left_to_it() -> None:
    norm: Any = LlamaRMSNorm(WIDTH)  # float32 weights return float32
    x = values(5, WIDTH).bfloat16()
    with torch.no_grad(), rollout_weights(norm, rows=5):
        y = norm(x)
        assert norm.forward.scales == {torch.bfloat16: None}
    assert torch.equal(y, norm(x))
    assert y.dtype == torch.float32


@pytest.mark.parametrize("kind", [ShiftedRMSNorm, EpsOutsideRMSNorm, CentredRMSNorm])
def test_a_norm_that_computes_something_else_keeps_its_own(kind: type[RMSNorm]) -> None:
    norm, x = kind(), values(4, WIDTH)
    with torch.no_grad():
        expected, before = norm(x), norm.calls
        with rollout_weights(norm, rows=4):
            assert torch.equal(norm(x), expected)
            assert torch.equal(norm(x), expected)
    assert norm.calls == before + 3  # the trial and both calls


@torch.no_grad()
def test_the_own_is_tried_once_and_given_what_it_alone_takes() -> None:
    norm, x = RMSNorm(), values(4, WIDTH)
    gate = torch.full((WIDTH,), 2.0)
    with rollout_weights(norm, rows=4):
        for _ in range(3):
            norm(x)
        assert norm.calls == 1
        y = norm(x, gate=gate)
    assert torch.equal(y, norm(x, gate))


@torch.no_grad()
def test_everything_is_as_before_afterwards() -> None:
    model = nn.Sequential(RMSNorm(), nn.RMSNorm(WIDTH), RMSNorm(), nn.LayerNorm(WIDTH))
    model[2].forward = own = lambda x: x
    with contextlib.suppress(KeyError), rollout_weights(model, rows=4):
        assert ["forward" in vars(layer) for layer in model] == [True, True, True, False]
        assert replace_norms(model) == []
        raise KeyError
    assert ["forward" in vars(layer) for layer in model] == [False, False, True, False]
    assert model[2].forward is own
    x = values(4, WIDTH)
    before = model(x)
    with rollout_weights(model, rows=4):
        torch.testing.assert_close(model(x), before)
    model[0].weight.mul_(2)
    with rollout_weights(model[0], rows=4):  # weights are read anew
        torch.testing.assert_close(model[0](x), F.rms_norm(x, (WIDTH,), model[0].weight, 1e-6))


def test_the_global_generator_is_left_alone_and_hooks_run() -> None:
    norm, seen = RMSNorm(), []
    norm.register_forward_hook(lambda module, args, output: seen.append(output))
    state = torch.get_rng_state()
    with torch.no_grad(), rollout_weights(norm, rows=4):
        y = norm(values(4, WIDTH))
    assert seen[0] is y
    assert torch.equal(torch.get_rng_state(), state)
