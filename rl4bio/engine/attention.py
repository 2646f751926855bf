"""Attention over packed rows: prompts among themselves, completions behind their prompt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rl4bio.engine.attention_bias import causal_bias, group_biases
from rl4bio.engine.kernels import attend_fused
from rl4bio.engine.layout import Packed
from rl4bio.functional.shapes import at_least_float32

LARGE_SCORES = 2**22
"""Query-key pairs of a layer, all heads, above which scores are not held: 16 MiB in float32."""
PIECE_SCORES = 2**24
"""Pairs at once where they are not held and no fused kernel knows the soft cap; scores, their caps
and probabilities take some 20 bytes a pair."""


class How(NamedTuple):
    """How a layer attends."""

    scale: float
    """Of the products."""
    window: int | None = None
    """Keys at most window - 1 positions back are seen; None sees all."""
    softcap: float | None = None
    """c: products are replaced by c * tanh(products / c)."""


class Layout(Protocol):
    """What can be in force: it knows where the tokens of a row belong."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        """Attention of T tokens.

        Args:
            layer: number of the layer.
            query: float [T, heads, D].
            key: float [T, key heads, D]; heads is a multiple of key heads.
            value: as key.
            how: the layer attends.

        Returns:
            float [T, heads, D].
        """


class PackedAttention:
    """Prompts attend causally to themselves, completions to their prompt and to themselves."""

    def __init__(self, packed: Packed, *, fused: bool) -> None:
        self.packed = packed
        self.fused = fused
        """Through scaled_dot_product_attention, where soft caps do not forbid it; large score
        matrices go through it in any case, or with soft caps in pieces."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        """See `Layout.attend`."""
        packed = self.packed
        blocks = [packed.prompt_blocks(states) for states in (query, key, value)]
        batch, group, width = packed.own_slots.shape
        prompt_width = packed.prompt_slots.shape[1]
        pairs = batch * max(prompt_width**2, group * width * (prompt_width + width))
        large = pairs * query.shape[1] > LARGE_SCORES
        options: dict[str, Any] = {"packed": packed, "how": how}
        prompt: Callable[..., Tensor] = causal_attention
        behind: Callable[..., Tensor] = fused_group_attention
        if how.softcap is not None or not (self.fused or large):
            prompt, behind = plain_causal_attention, group_attention
            if large:
                size = PIECE_SCORES * batch // pairs
                prompt, behind = (partial(in_pieces, one, size=size) for one in (prompt, behind))
        mixed = prompt(*blocks, **options)
        if not packed.own_slots.numel():
            return packed.row(mixed, None)
        own = [packed.completion_blocks(states) for states in (query, key, value)]
        return packed.row(mixed, behind(*own, *blocks[1:], **options))


def in_pieces(
    attention: Callable[..., Tensor], query: Tensor, *states: Tensor, size: int, **options: Any
) -> Tensor:
    """The same with the scores of few heads at a time, made again in the backward.

    Args:
        attention: takes the arguments behind it, and `rows`, the prompts of a piece.
        query: float [B, ..., heads, D].
        states: keys and values, each float [B, ..., key heads, D].
        size: heads, counted over all prompts, whose scores may be held at once.
        options: of the attention.
    """
    batch, heads, key_heads = len(query), query.shape[-2], states[0].shape[-2]
    ratio = heads // key_heads
    few = min(key_heads, max(1, size // ratio))  # key heads of a prompt at once
    some = max(1, size // heads)  # prompts at once
    run: Callable[..., Tensor] = attention
    if torch.is_grad_enabled():
        run = partial(checkpoint, attention, use_reentrant=False, preserve_rng_state=False)
    found = []
    for first in range(0, batch, some):
        rows = slice(first, first + some)
        columns = [
            run(
                query[rows, ..., k * ratio : (k + few) * ratio, :],
                *(one[rows, ..., k : k + few, :] for one in states),
                rows=rows,
                **options,
            )
            for k in range(0, key_heads, few)
        ]
        found.append(torch.cat(columns, dim=-2))
    return torch.cat(found)


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, *, packed: Packed, how: How
) -> Tensor:
    """Prompts [B, P, heads, D] among themselves, fused; padding on the right is never seen."""
    plain = how.window is None or how.window >= query.shape[1]
    bias = None if plain else causal_bias(packed, how.window, query.dtype)
    states = (one.transpose(1, 2) for one in (query, key, value))
    return attend_fused(*states, bias=bias, scale=how.scale).transpose(1, 2)


def plain_causal_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    packed: Packed,
    how: How,
    rows: slice = slice(None),
) -> Tensor:
    """The same by matrix products; any soft cap, any prompts of the layout."""
    batch, width, heads, size = query.shape
    key_heads = key.shape[2]
    queries = query.transpose(1, 2).reshape(batch, key_heads, -1, size)  # [B, K, R*P, D]
    scores = capped(torch.matmul(queries, key.permute(0, 2, 3, 1)), how.scale, how.softcap)
    scores = scores.view(batch, heads, width, width)
    bias = causal_bias(packed, how.window, scores.dtype)
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
    how: How,
    rows: slice = slice(None),
) -> Tensor:
    """Completions [B, G, C, heads, D] behind prompts [B, P, key heads, D], by matrix products.

    The prompt's keys are used as they are by all completions of a group: one product for all of
    them, no copy of the keys. `rows` are the layout's prompts that these are.
    """
    batch, group, width, heads, size = query.shape
    key_heads, prompt = prompt_key.shape[2], prompt_key.shape[1]
    lines = heads // key_heads * width
    # [B, K, G, R*C, D]: one order serves both products
    queries = query.unflatten(3, (key_heads, -1)).permute(0, 3, 1, 4, 2, 5)
    queries = queries.reshape(batch, key_heads, group, lines, size)
    front = torch.matmul(queries.flatten(2, 3), prompt_key.permute(0, 2, 3, 1))
    front = capped(front, how.scale, how.softcap).view(batch, key_heads, group, -1, width, prompt)
    behind = torch.matmul(queries, key.permute(0, 3, 1, 4, 2))
    behind = capped(behind, how.scale, how.softcap).view(batch, key_heads, group, -1, width, width)
    front_bias, own_bias = group_biases(packed, how.window, front.dtype)
    if front_bias is not None:
        front = front + front_bias[rows, None, None, None]
    weights = probabilities(torch.cat([front, behind + own_bias], dim=-1), value.dtype)
    front, behind = weights.split([prompt, width], dim=-1)
    mixed = torch.matmul(
        front.reshape(batch, key_heads, group * lines, prompt), prompt_value.transpose(1, 2)
    ).view(batch, key_heads, group, lines, size)
    mixed = mixed + torch.matmul(
        behind.reshape(batch, key_heads, group, lines, width), value.permute(0, 3, 1, 2, 4)
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
    how: How,
) -> Tensor:
    """The same through the fused kernels, which want each completion's keys in one piece."""
    batch, group = query.shape[:2]

    def whole(front: Tensor, own: Tensor) -> Tensor:  # [B*G, K, P + C, D]
        front = front[:, None].expand(-1, group, -1, -1, -1)
        return torch.cat([front, own], dim=2).flatten(0, 1).transpose(1, 2)

    front_bias, own_bias = group_biases(packed, how.window, query.dtype, always=True)
    assert front_bias is not None
    bias = torch.cat([front_bias, own_bias.expand(batch, -1, -1)], dim=-1)  # [B, C, P + C]
    mixed = attend_fused(
        query.flatten(0, 1).transpose(1, 2),
        whole(prompt_key, key),
        whole(prompt_value, value),
        bias=bias.repeat_interleave(group, 0)[:, None],
        scale=how.scale,
    )
    blocks: Tensor = mixed.transpose(1, 2).unflatten(0, (batch, group))
    return blocks


def capped(scores: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Scaled products; with a soft cap c, c * tanh(products / c) (Gemma 2).

    The cap runs in at least float32: in bfloat16 the scores of a Gemma, up to 50, would be rounded
    by up to 0.125 once more in each of its steps.
    """
    if softcap is None:
        return scores * scale
    return softcap * torch.tanh(at_least_float32(scores) * (scale / softcap))


def probabilities(scores: Tensor, dtype: torch.dtype) -> Tensor:
    """Softmax over the last dimension in at least float32, rounded to the values' type."""
    working = torch.promote_types(scores.dtype, torch.float32)
    return torch.softmax(scores, dim=-1, dtype=working).to(dtype)
