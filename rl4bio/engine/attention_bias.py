"""What tokens of a packed row see, as numbers that are added to the scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl4bio.engine.layout import Packed


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
