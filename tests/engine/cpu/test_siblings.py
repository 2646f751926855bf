"""Layers fed the same tensor: one product, the numbers of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl4bio.engine.cpu import weights
from rl4bio.engine.cpu.weights import can_pack, rollout_weights

pytestmark = pytest.mark.skipif(
    not can_pack(torch.float32), reason="this build of torch has no packed product"
)
SIZES = {"q_proj": 24, "k_proj": 8, "v_proj": 16}


class Attention(nn.Module):
    """Three siblings, and a fourth layer that is none."""

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name, size in SIZES.items():
            setattr(self, name, nn.Linear(16, size, bias=bias))
        self.o_proj = nn.Linear(24, 16, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([getattr(self, name)(x) for name in SIZES], dim=-1)


@pytest.fixture(autouse=True)
def _pack_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", 0)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Widths of the outputs of all packed products, as they are computed."""
    can_pack(torch.bfloat16)  # whose trial is a product too
    widths: list[int] = []
    own = torch.ops.mkldnn._linear_pointwise

    def counted(*args: Any) -> Tensor:
        y = own(*args)
        widths.append(y.shape[-1])
        return y

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    return widths


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
def test_one_product_gives_what_each_gives(
    bias: bool, dtype: torch.dtype, autocast: bool, products: list[int]
) -> None:
    if not can_pack(torch.bfloat16) and (autocast or dtype == torch.bfloat16):
        pytest.skip("this CPU has no packed product in bfloat16")
    model, x = Attention(bias=bias).to(dtype), numbers(2, 5, 16).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        expected = model(x)
        with rollout_weights(model, rows=8):
            y = model(x)
            assert model.k_proj.forward.weight is None
    assert products == [48]
    assert y.dtype == expected.dtype
    rounding = 2**-7 if y.dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(y, expected, atol=rounding, rtol=rounding)
    assert not any("forward" in vars(module) for module in model.modules())


@torch.no_grad()
def test_another_dtype_and_an_adapter() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(Attention(), config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
        if "k_proj" in name:
            parameter.requires_grad_(True)  # a frozen one would be kept, and stay alone
    inner, x = model.base_model.model, numbers(3, 16)
    expected = inner(x)
    with rollout_weights(model, rows=8):
        torch.testing.assert_close(inner(x), expected, atol=1e-5, rtol=1e-5)
        assert inner.q_proj.forward.merged is inner.k_proj.forward.merged
    with rollout_weights(model, rows=8, dtype=torch.bfloat16):
        y = inner(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, atol=0.1, rtol=0.02)
    assert not torch.equal(y, expected)


@torch.no_grad()
def test_another_tensor_or_a_changed_one_has_its_own_product(products: list[int]) -> None:
    model, x, other = Attention(), numbers(3, 16), numbers(3, 16) + 1
    with rollout_weights(model, rows=8):
        model.q_proj(x)
        torch.testing.assert_close(model.k_proj(other), F.linear(other, model.k_proj.weight))
        torch.testing.assert_close(model.v_proj(x), F.linear(x, model.v_proj.weight))
        assert len(products) == 3
        model.q_proj(x)
        x.add_(1)  # the outputs that wait are no longer those of x
        for _ in range(2):  # the second time none waits
            torch.testing.assert_close(model.k_proj(x), F.linear(x, model.k_proj.weight))
        assert len(products) == 5
        torch.testing.assert_close(model.v_proj(x), F.linear(x, model.v_proj.weight))
        assert len(products) == 5


@torch.no_grad()
def test_an_input_is_held_no_longer_than_its_outputs_wait() -> None:
    model = Attention()
    with rollout_weights(model, rows=8):
        model(numbers(3, 16))
        merged = model.q_proj.forward.merged
        assert merged.fed is None
        assert not merged.waiting


@torch.inference_mode()
def test_in_inference_mode() -> None:
    model, x = Attention(), numbers(3, 16)
    expected = model(x)
    with rollout_weights(model, rows=8):
        torch.testing.assert_close(model(x), expected)


@torch.no_grad()
@pytest.mark.parametrize("odd", ["frozen", "missing", "bias", "width", "replaced"])
def test_siblings_that_differ_stay_apart(odd: str) -> None:
    model = Attention()
    if odd == "frozen":
        model.requires_grad_(False)
    elif odd == "missing":
        del model.v_proj
    elif odd == "bias":
        model.v_proj = nn.Linear(16, 16, bias=True)
    elif odd == "width":
        model.v_proj = nn.Linear(12, 16, bias=False)
    else:
        model.v_proj.forward = lambda x: x
    with rollout_weights(model, rows=8):
        assert model.q_proj.forward.merged is None
        x = numbers(3, 16)
        torch.testing.assert_close(model.q_proj(x), F.linear(x, model.q_proj.weight))


@pytest.mark.parametrize(("smallest", "merges"), [(600, True), (800, False)])
def test_small_layers_are_packed_together(
    smallest: int, merges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MolGPT's: 256 elements each, 768 together."""
    monkeypatch.setattr(weights, "MIN_PACKED_FLOAT32", smallest)
    torch.manual_seed(0)
    model = nn.ModuleDict({name: nn.Linear(16, 16) for name in ("key", "query", "value")})
    x = torch.randn(5, 16)
    with torch.no_grad():
        expected = [model[name](x) for name in ("query", "key", "value")]
        with rollout_weights(model, rows=5) as copies:
            found = [model[name](x) for name in ("query", "key", "value")]
        assert copies == ("merged float32, 3 layers" if merges else "no private copies")
        torch.testing.assert_close(found, expected)
    assert all("forward" not in vars(layer) for layer in model.values())
