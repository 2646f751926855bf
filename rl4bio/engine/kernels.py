"""Which attention kernel torch runs for the engine's calls, called so that it is a fused one.

torch chooses a kernel for every call of scaled_dot_product_attention. Where it finds none that is
fused it holds all scores in float32, silently. What it would choose is asked of the CUDA build of
torch 2.13 without a card for every row of this table (sm_70 to sm_120); no kernel has been timed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from rl4bio.hardware import Capability, Decision

HALF = (torch.float16, torch.bfloat16)
FUSED = ("flash", "efficient", "cudnn")
"""Kernels that never hold a matrix of scores."""
NO_CUDNN = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""cuDNN, which torch prefers on sm_90 and sm_100, plans anew for each shape, and the lengths of
every micro-batch are new."""


def attention_kernel(
    *,
    mask: bool,
    grouped: bool,
    dtype: torch.dtype,
    head_size: int,
    capability: Capability,
    cudnn: bool = False,
) -> Decision:
    """The kernel that torch runs for a call, with gradients.

    Args:
        mask: whether the call has a mask; else it is causal.
        grouped: whether key heads are fewer than heads, as torch is told (`enable_gqa`).
        dtype: of queries, keys and values.
        head_size: channels of a head.
        capability: of the CUDA device.
        cudnn: whether torch may take cuDNN's kernels; the engine's calls may not.

    Returns:
        flash, efficient, cudnn or math.
    """
    device = f"sm_{capability[0]}{capability[1]}"
    number = str(dtype).removeprefix("torch.")
    half = dtype == torch.float16 or (dtype == torch.bfloat16 and capability >= (8, 0))
    widest = {(9, 0): 256, (10, 0): 128}.get(capability, 0)
    if cudnn and half and capability >= (8, 0) and head_size <= widest:
        return Decision("cudnn", f"torch's first choice on {device} to {widest} channels a head")
    if half and capability >= (8, 0) and not mask and head_size <= 256:
        return Decision("flash", f"{number} on {device}, causal without a mask")
    if grouped:
        return Decision("math", f"no fused kernel on {device} takes grouped heads here ({number})")
    if dtype == torch.float32 or half:
        return Decision("efficient", f"{number} on {device}{' with a mask' if mask else ''}")
    return Decision("math", f"{device} has no {number}")


def heads_to_repeat(
    *, mask: bool, ratio: int, dtype: torch.dtype, head_size: int, capability: Capability
) -> int:
    """How often each key head must be given, so that a fused kernel takes the call; 1 as it is."""
    options: dict[str, Any] = {"mask": mask, "dtype": dtype, "head_size": head_size}
    options["capability"] = capability
    if ratio == 1 or attention_kernel(grouped=True, **options).value in FUSED:
        return 1
    return ratio if attention_kernel(grouped=False, **options).value in FUSED else 1


def engine_kernels(
    *,
    grouped: bool,
    window: bool,
    softcap: bool,
    dtype: torch.dtype,
    head_size: int,
    capability: Capability | None,
) -> Decision:
    """What the engine's training attention runs, of prompts and of completions, for people.

    Products are the engine's own: no kernel of torch caps scores (Gemma 2), and on a CPU they are
    the faster ones.

    Args:
        grouped: whether the model has fewer key heads than heads.
        window: whether layers have a sliding window, which is a mask.
        softcap: whether scores are capped.
        dtype: that products run in.
        head_size: channels of a head.
        capability: of the CUDA device; None is another device.
    """
    if softcap:
        return Decision("products", "no fused kernel of torch caps scores; a few heads at a time")
    if capability is None:
        return Decision(
            "products", "no CUDA device: plain products, large ones through torch's own"
        )
    options: dict[str, Any] = {"dtype": dtype, "head_size": head_size, "capability": capability}
    names, reasons = [], []
    for mask in (window, True):
        repeated = grouped and heads_to_repeat(mask=mask, ratio=2, **options) > 1
        left = grouped and not repeated
        found = attention_kernel(mask=mask, grouped=left, **options)
        names.append(found.value)
        reasons.append(f"{found.reason}{', key heads repeated' if repeated else ''}")
    if names[0] == names[1]:
        return Decision(names[1], reasons[1])
    return Decision("/".join(names), f"prompts: {reasons[0]}; completions: {reasons[1]}")


def attend_fused(
    query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None, scale: float
) -> Tensor:
    """Attention through the fused kernel that there is for it; causal without a bias.

    Args:
        query: float [M, heads, L, D].
        key: float [M, key heads, S, D]; heads is a multiple of key heads.
        value: as key.
        bias: [M or 1, 1, L, S], or [L, S].
        scale: of the products.
    """
    ratio = query.shape[1] // key.shape[1]
    cuda = query.device.type == "cuda"
    if cuda and ratio > 1:
        times = heads_to_repeat(
            mask=bias is not None,
            ratio=ratio,
            dtype=working_dtype(query),
            head_size=query.shape[-1],
            capability=torch.cuda.get_device_capability(query.device),
        )
        key, value = repeat_heads(key, times), repeat_heads(value, times)
        ratio //= times
    with sdpa_kernel(NO_CUDNN) if cuda else contextlib.nullcontext():
        return scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias,
            is_causal=bias is None,
            scale=scale,
            enable_gqa=ratio > 1,
        )


def working_dtype(states: Tensor) -> torch.dtype:
    """The type that products of these states run in: autocast's where it is on."""
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


def repeat_heads(states: Tensor, times: int) -> Tensor:
    """[M, K, S, D] to [M, K * times, S, D], each head side by side; no copy of a single head."""
    if times == 1:
        return states
    return states.unsqueeze(2).expand(-1, -1, times, -1, -1).flatten(1, 2)
