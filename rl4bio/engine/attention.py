"""Attention over packed rows: prompts among themselves, completions behind their prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from rl4bio.engine.layout import Packed

LARGE_SCORES = 2**22
"""Query-key pairs of a layer, all heads, above which scores are not held: 16 MiB in float32."""


class Layout(Protocol):
    """What can be in force: it knows where the tokens of a row belong."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Attention of T tokens.

        Args:
            layer: number of the layer.
            query: float [T, heads, D].
            key: float [T, key heads, D]; heads is a multiple of key heads.
            value: as key.
            scale: of the products.
            window: keys at most window - 1 positions back are seen; None sees all.
            softcap: c, products are replaced by c * tanh(products / c).

        Returns:
            float [T, heads, D].
        """


class PackedAttention:
    """Prompts attend causally to themselves, completions to their prompt and to themselves."""

    def __init__(self, packed: Packed, *, fused: bool) -> None:
        self.packed = packed
        self.fused = fused
        """Through scaled_dot_product_attention, where soft caps do not forbid it; large score
        matrices go through it in any case."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """See `Layout.attend`."""
        packed = self.packed
        blocks = [packed.prompt_blocks(states) for states in (query, key, value)]
        batch, group, width = packed.own_slots.shape
        prompt_width = packed.prompt_slots.shape[1]
        pairs = batch * max(prompt_width**2, group * width * (prompt_width + width))
        large = pairs * query.shape[1] > LARGE_SCORES
        fused = (self.fused or large) and softcap is None
        prompt = causal_attention if fused else plain_causal_attention
        mixed = prompt(*blocks, packed=packed, scale=scale, window=window, softcap=softcap)
        if not packed.own_slots.numel():
            return packed.row(mixed, None)
        own = [packed.completion_blocks(states) for states in (query, key, value)]
        behind = fused_group_attention if fused else group_attention
        tail = behind(*own, *blocks[1:], packed=packed, scale=scale, window=window, softcap=softcap)
        return packed.row(mixed, tail)


def causal_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    packed: Packed,
    scale: float,
    window: int | None,
    softcap: float | None = None,
) -> Tensor:
    """Prompts [B, P, heads, D] among themselves, fused; padding on the right is never seen."""
    plain = window is None or window >= query.shape[1]
    bias = None if plain else causal_bias(packed, window, query.dtype)
    mixed = scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=bias,
        is_causal=bias is None,
        scale=scale,
        enable_gqa=query.shape[2] != key.shape[2],
    )
    return mixed.transpose(1, 2)


def plain_causal_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    packed: Packed,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """The same by matrix products; any soft cap."""
    batch, width, heads, size = query.shape
    key_heads = key.shape[2]
    queries = query.transpose(1, 2).reshape(batch, key_heads, -1, size)  # [B, K, R*P, D]
    scores = capped(torch.matmul(queries, key.permute(0, 2, 3, 1)), scale, softcap)
    scores = scores.view(batch, heads, width, width)
    bias = causal_bias(packed, window, scores.dtype)
    weights = probabilities(scores + bias, value.dtype).view(batch, key_heads, -1, width)
    mixed = torch.matmul(weights, value.transpose(1, 2))
    return mixed.view(batch, heads, width, size).transpose(1, 2)


def group_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor,
    prompt_value: Tensor,
    *,
    packed: Packed,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Completions [B, G, C, heads, D] behind prompts [B, P, key heads, D], by matrix products.

    The prompt's keys are used as they are by all completions of a group: one product for all of
    them, no copy of the keys.
    """
    batch, group, width, heads, size = query.shape
    key_heads, prompt = prompt_key.shape[2], prompt_key.shape[1]
    rows = heads // key_heads * width
    # [B, K, G, R*C, D]: one order serves both products
    queries = query.unflatten(3, (key_heads, -1)).permute(0, 3, 1, 4, 2, 5)
    queries = queries.reshape(batch, key_heads, group, rows, size)
    front = torch.matmul(queries.flatten(2, 3), prompt_key.permute(0, 2, 3, 1))
    front = capped(front, scale, softcap).view(batch, key_heads, group, -1, width, prompt)
    behind = torch.matmul(queries, key.permute(0, 3, 1, 4, 2))
    behind = capped(behind, scale, softcap).view(batch, key_heads, group, -1, width, width)
    front_bias, own_bias = group_biases(packed, window, front.dtype)
    if front_bias is not None:
        front = front + front_bias[:, None, None, None]
    weights = probabilities(torch.cat([front, behind + own_bias], dim=-1), value.dtype)
    front, behind = weights.split([prompt, width], dim=-1)
    mixed = torch.matmul(
        front.reshape(batch, key_heads, group * rows, prompt), prompt_value.transpose(1, 2)
    ).view(batch, key_heads, group, rows, size)
    mixed = mixed + torch.matmul(
        behind.reshape(batch, key_heads, group, rows, width), value.permute(0, 3, 1, 2, 4)
    )
    mixed = mixed.view(batch, key_heads, group, -1, width, size)
    return mixed.permute(0, 2, 4, 1, 3, 5).reshape(batch, group, width, heads, size)


def fused_group_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prompt_key: Tensor,
    prompt_value: Tensor,
    *,
    packed: Packed,
    scale: float,
    window: int | None,
    softcap: float | None = None,
) -> Tensor:
    """The same through the fused kernels, which want each completion's keys in one piece."""
    batch, group = query.shape[:2]

    def whole(front: Tensor, own: Tensor) -> Tensor:  # [B*G, K, P + C, D]
        front = front[:, None].expand(-1, group, -1, -1, -1)
        return torch.cat([front, own], dim=2).flatten(0, 1).transpose(1, 2)

    front_bias, own_bias = group_biases(packed, window, query.dtype, always=True)
    assert front_bias is not None
    bias = torch.cat([front_bias, own_bias.expand(batch, -1, -1)], dim=-1)  # [B, C, P + C]
    mixed = scaled_dot_product_attention(
        query.flatten(0, 1).transpose(1, 2),
        whole(prompt_key, key),
        whole(prompt_value, value),
        attn_mask=bias.repeat_interleave(group, 0)[:, None],
        scale=scale,
        enable_gqa=query.shape[3] != key.shape[3],
    )
    return mixed.transpose(1, 2).unflatten(0, (batch, group))


def capped(scores: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Scaled products; with a soft cap c, c * tanh(products / c) (Gemma 2)."""
    scores = scores * scale
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def probabilities(scores: Tensor, dtype: torch.dtype) -> Tensor:
    """Softmax over the last dimension in at least float32, rounded to the values' type."""
    working = torch.promote_types(scores.dtype, torch.float32)
    return torch.softmax(scores, dim=-1, dtype=working).to(dtype)


def causal_bias(packed: Packed, window: int | None, dtype: torch.dtype) -> Tensor:
    """[P, P]: 0 where a prompt token sees another, else -inf."""
    width = packed.prompt_slots.shape[1]

    def make() -> Tensor:
        steps = torch.arange(width, device=packed.ids.device)
        return seen_bias(steps[:, None] - steps, window, dtype)

    return _kept(packed, "prompt", window, dtype, make)


def group_biases(
    packed: Packed, window: int | None, dtype: torch.dtype, *, always: bool = False
) -> tuple[Tensor | None, Tensor]:
    """[B, C, P] and [C, C]: what completions see of their prompt and of themselves.

    The first is None where every completion sees every token of the padded prompt block.
    """
    device = packed.ids.device
    prompt, width = packed.prompt_slots.shape[1], packed.own_slots.shape[2]
    steps = torch.arange(width, device=device)

    def make_front() -> Tensor:
        places = torch.arange(prompt, device=device)
        lengths = packed.prompt_lengths[:, None, None]
        bias = seen_bias(lengths + steps[:, None] - places, window, dtype)
        return bias.masked_fill(places >= lengths, float("-inf"))

    def make_own() -> Tensor:
        return seen_bias(steps[:, None] - steps, window, dtype)

    front = None
    far = window is not None and window < prompt + width
    if always or far or not packed.even_prompts:
        front = _kept(packed, "front", window, dtype, make_front)
    return front, _kept(packed, "own", window, dtype, make_own)


def seen_bias(distance: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """0 where a key is 0 to window - 1 positions before the query, else -inf."""
    hidden = distance < 0
    if window is not None:
        hidden = hidden | (distance >= window)
    bias = torch.zeros(distance.shape, dtype=dtype, device=distance.device)
    return bias.masked_fill(hidden, float("-inf"))


def _kept(
    packed: Packed, kind: str, window: int | None, dtype: torch.dtype, make: Callable[[], Tensor]
) -> Tensor:
    """A mask of this layout, made once for all layers."""
    key = (kind, window, dtype)
    if key not in packed.biases:
        packed.biases[key] = make()
    return packed.biases[key]
