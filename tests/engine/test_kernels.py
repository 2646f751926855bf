"""The kernel table against what torch's CUDA build answers, and the engine's calls by it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from rl4bio.engine import kernels
from rl4bio.engine.kernels import FUSED, attend_fused, attention_kernel, engine_kernels

FAMILIES = {  # heads, key heads, channels of a head
    "gemma3_1b": (4, 1, 256),
    "gemma2_2b": (8, 4, 256),
    "llama_8b": (32, 8, 128),
    "phi4_mini": (24, 8, 128),
    "smollm2": (9, 3, 64),
    "gpt2": (8, 8, 32),
}
CARDS = [(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# What torch 2.13.0+cu130 chooses with gradients: causal with grouped heads, causal with heads
# repeated, mask with grouped heads, mask with heads repeated.
GROUPED = ["math", "efficient", "math", "efficient"]
FLASH = ["flash", "flash", "math", "efficient"]
CUDNN = ["cudnn"] * 4


def torch_chooses(family: str, card: tuple[int, int], number: str) -> list[str] | None:
    """The four answers of torch; None where it has no such type on the card."""
    heads, key_heads, size = FAMILIES[family]
    if card < (8, 0) and number == "bf16":
        return None
    if card == (9, 0) or (card == (10, 0) and size <= 128):
        found = CUDNN if number != "fp32" else GROUPED
    else:
        found = FLASH if number != "fp32" and card >= (8, 0) else GROUPED
    return ["efficient" if one == "math" else one for one in found] if heads == key_heads else found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("number", TYPES)
def test_the_table_is_what_torch_chooses(family: str, card: tuple[int, int], number: str) -> None:
    heads, key_heads, size = FAMILIES[family]
    expected = torch_chooses(family, card, number)
    found = [
        attention_kernel(
            mask=mask,
            grouped=grouped and heads != key_heads,
            dtype=TYPES[number],
            head_size=size,
            capability=card,
            cudnn=True,
        )
        for mask, grouped in ((False, True), (False, False), (True, True), (True, False))
    ]
    assert all(choice.reason for choice in found)
    if expected is None:
        assert {choice.value for choice in found} == {"math"}
    elif heads == key_heads and number != "fp32" and expected[0] == "flash":
        assert [choice.value for choice in found] == ["flash", "flash", "efficient", "efficient"]
    else:
        assert [choice.value for choice in found] == expected


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "gemma2_2b"])
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("number", TYPES)
@pytest.mark.parametrize("window", [False, True])
def test_the_engine_reaches_a_fused_kernel_wherever_torch_has_one(
    family: str, card: tuple[int, int], number: str, window: bool
) -> None:
    heads, key_heads, size = FAMILIES[family]
    choice = engine_kernels(
        grouped=heads != key_heads,
        window=window,
        softcap=False,
        dtype=TYPES[number],
        head_size=size,
        capability=card,
    )
    names = set(choice.value.split("/"))
    assert choice.reason
    if number == "bf16" and card < (8, 0):
        assert names == {"math"}
    else:
        assert names <= set(FUSED)
        assert "cudnn" not in names


def test_capped_scores_and_other_devices_are_named() -> None:
    options: dict[str, Any] = {"grouped": True, "window": True, "dtype": torch.bfloat16}
    options["head_size"] = 256
    capped = engine_kernels(softcap=True, capability=(9, 0), **options)
    assert capped.value == "products"
    assert "caps scores" in capped.reason
    assert engine_kernels(softcap=False, capability=None, **options).value == "products"


def given(monkeypatch: pytest.MonkeyPatch, card: tuple[int, int], **how: Any) -> dict[str, Any]:
    """What torch's attention is called with for CUDA tensors that a card would hold."""
    calls: list[dict[str, Any]] = []

    def noted(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        enabled = torch.backends.cuda.cudnn_sdp_enabled()
        calls.append({"key_heads": key.shape[1], "cudnn": enabled, **options})
        return query

    monkeypatch.setattr(kernels, "scaled_dot_product_attention", noted)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: card)
    dtype = how.get("dtype", torch.bfloat16)
    with FakeTensorMode(), torch.device("cuda"):
        query = torch.empty(6, 8, 5, 64, dtype=dtype)
        states = torch.empty(6, 2, 9, 64, dtype=dtype)
        bias = torch.empty(6, 1, 5, 9, dtype=dtype) if how["mask"] else None
        attend_fused(query, states, states, bias=bias, scale=1.0)
    return calls[0]


@pytest.mark.parametrize("card", CARDS)
def test_key_heads_are_repeated_on_cuda_where_that_gives_a_kernel(
    card: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    half = torch.bfloat16 if card >= (8, 0) else torch.float16
    masked = given(monkeypatch, card, mask=True, dtype=half)
    assert (masked["key_heads"], masked["enable_gqa"], masked["is_causal"]) == (8, False, False)
    causal = given(monkeypatch, card, mask=False, dtype=half)
    flash = card >= (8, 0)
    assert (causal["key_heads"], causal["enable_gqa"]) == ((2, True) if flash else (8, False))
    assert given(monkeypatch, card, mask=False, dtype=torch.float32)["key_heads"] == 8
    assert not masked["cudnn"]
    assert not causal["cudnn"]


@pytest.mark.parametrize("key_heads", [1, 2])
def test_repeated_heads_change_no_number(key_heads: int) -> None:
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8, dtype=torch.float64)
    key, value = torch.randn(2, 2, key_heads, 5, 8, dtype=torch.float64).requires_grad_()
    whole = [kernels.repeat_heads(one, 4 // key_heads) for one in (key, value)]
    found = scaled_dot_product_attention(query, *whole, is_causal=True)
    expected = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(found, expected)
    assert (whole[0].stride(1) == 0) is (key_heads == 1)  # a single head is not copied
