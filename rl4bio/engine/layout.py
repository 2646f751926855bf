"""Groups of completions behind shared prompts as one row of real tokens.

All prompts stand first, then all completions; every token carries its own position, so a
completion's continue its prompt's. Linear layers see that row alone. Attention gathers the row into
blocks that are padded to the longest of their kind, and a model never sees a mask or a cache.

A demonstration is a prompt of its own, without completions, whose own tokens are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.engine.sending import moved
from rl4bio.errors import ShapeError


@dataclass(slots=True, kw_only=True)
class Packed:
    """T tokens of B prompts and their completions, at most G of each prompt."""

    ids: Tensor  # int [1, T]
    positions: Tensor  # int [1, T]
    prompt_slots: Tensor  # int [B, P]; where in T, padding on the right points at 0
    prompt_lengths: Tensor  # int [B]
    own_slots: Tensor  # int [B, G, C]; fed completion tokens, C may be 0
    back: Tensor  # int [T]; where in B*P + B*G*C
    even_prompts: bool  # all prompts have P tokens
    even_completions: bool  # every prompt has G completions of C fed tokens
    scored: Tensor  # int [M]; the place in T that predicts a scored token
    targets: Tensor  # int [M]; the scored tokens
    places: Tensor  # int [M]; where in n*c (row-major) a scored token belongs
    extremes: tuple[int, int] | None = None
    """The least and the greatest scored token, where they are known; read once, on the host."""
    biases: dict[tuple[str, int | None, torch.dtype], Tensor] = field(default_factory=dict)
    """Masks made so far, by kind, window and type."""

    def to(self, device: torch.device) -> Packed:
        """The same layout on a device. Made on the CPU and sent, it waits for no device."""
        return moved(self, device)

    def prompt_blocks(self, states: Tensor) -> Tensor:
        """The prompts' part of states [T, ...]: [B, P, ...]."""
        batch, width = self.prompt_slots.shape
        prompts = slice(batch * width) if self.even_prompts else self.prompt_slots.flatten()
        blocks: Tensor = states[prompts].unflatten(0, (batch, width))
        return blocks

    def completion_blocks(self, states: Tensor) -> Tensor:
        """The completions' part of states [T, ...]: [B, G, C, ...]."""
        first = len(states) - self.own_slots.numel()
        own = slice(first, None) if self.even_completions else self.own_slots.flatten()
        blocks: Tensor = states[own].unflatten(0, self.own_slots.shape)
        return blocks

    def row(self, prompts: Tensor, completions: Tensor | None) -> Tensor:
        """Blocks [B, P, ...] and [B, G, C, ...] back as one row [T, ...]."""
        flat = prompts.flatten(0, 1)
        if completions is not None:
            flat = torch.cat([flat, completions.flatten(0, 2)])
        return flat if self.even_prompts and self.even_completions else flat[self.back]

    def unpack(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Values [M] of the scored tokens as [n, c], 0 elsewhere."""
        flat = values.new_zeros(shape[0] * shape[1])
        return flat.index_copy(0, self.places, values).view(shape)


def pack(
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    prompt_index: Tensor | None = None,
    completion_ids: Tensor | None = None,
    completion_mask: Tensor | None = None,
    *,
    front: int = 0,
) -> Packed:
    """The layout of padded prompts and completions.

    The first completion token is predicted by the last prompt token; the last completion token is
    never fed. Scored are the completions' tokens; without completions nothing is.

    Args:
        prompt_ids: int [B, p], padded on one side.
        prompt_mask: bool [B, p]; every row has a token.
        prompt_index: int [n], the prompt of each completion, in ascending order.
        completion_ids: int [n, c], right-padded.
        completion_mask: bool [n, c]; True up to the last token of a row.
        front: places ahead of each prompt for what a conditioned model is given, counted as tokens
            of the prompt; their ids mean nothing.

    Raises:
        ShapeError: a prompt is empty, or prompt_index descends.
    """
    if front:
        prompt_ids = pad(prompt_ids, (front, 0))
        prompt_mask = pad(prompt_mask, (front, 0), value=True)
    prompts = _pack_prompts(prompt_ids, prompt_mask, front)
    if prompt_index is None or completion_ids is None or completion_mask is None:
        return prompts
    if bool((prompt_index.diff() < 0).any()):
        raise ShapeError("pack: prompt_index must ascend, rows of one prompt side by side")
    device, lengths = prompt_ids.device, prompts.prompt_lengths
    batch, width = prompts.prompt_slots.shape
    fed = completion_mask[:, 1:]  # [n, c - 1]; True where the token before it is fed
    counts = torch.bincount(prompt_index, minlength=batch)
    group, longest = int(counts.max()), int(fed.sum(-1).max())
    first = counts.cumsum(0) - counts
    member = torch.arange(len(prompt_index), device=device) - first[prompt_index]
    number = fed.flatten().cumsum(0).view(fed.shape) - 1  # which fed token
    slots = (prompts.ids.shape[1] + number).masked_fill(~fed, 0)
    own_slots = slots.new_zeros(batch, group, longest)
    own_slots[prompt_index, member] = slots[:, :longest]
    steps = torch.arange(fed.shape[1], device=device)
    cells = (prompt_index * group + member)[:, None] * longest + steps
    ends = (lengths.cumsum(0) - 1)[prompt_index]  # the last prompt token
    predictors = torch.cat([ends[:, None], slots], dim=1)  # [n, c]
    own_positions = lengths[prompt_index][:, None] + steps
    own_ids = completion_ids[:, :-1][fed]
    targets = completion_ids[completion_mask]
    return replace(
        prompts,
        ids=torch.cat([prompts.ids, own_ids[None]], dim=1),
        positions=torch.cat([prompts.positions, own_positions[fed][None]], dim=1),
        own_slots=own_slots,
        back=torch.cat([prompts.back, batch * width + cells[fed]]),
        even_completions=len(own_ids) == own_slots.numel(),
        scored=predictors[completion_mask],
        targets=targets,
        extremes=extremes_of(targets),
        places=completion_mask.flatten().nonzero().squeeze(-1),
    )


def extremes_of(ids: Tensor) -> tuple[int, int] | None:
    """The least and the greatest of some ids; None where there is none."""
    if ids.numel() == 0:
        return None
    least, greatest = ids.aminmax()
    return int(least), int(greatest)


def _pack_prompts(prompt_ids: Tensor, prompt_mask: Tensor, front: int) -> Packed:
    """The layout of prompts alone; nothing is scored."""
    device = prompt_ids.device
    lengths = prompt_mask.sum(-1)
    if not bool((lengths > front).all()):
        raise ShapeError("pack: a prompt has no token, so nothing predicts its first completion's")
    batch, width = len(lengths), int(lengths.max())
    starts = lengths.cumsum(0) - lengths
    steps = torch.arange(width, device=device)
    real = steps < lengths[:, None]  # [B, P]
    prompt_slots = (starts[:, None] + steps).masked_fill(~real, 0)
    ids, positions = prompt_ids[prompt_mask], steps.expand(batch, width)[real]
    back = torch.arange(batch * width, device=device)[real.flatten()]
    nothing = ids.new_zeros(0)
    return Packed(
        ids=ids[None],
        positions=positions[None],
        prompt_slots=prompt_slots,
        prompt_lengths=lengths,
        own_slots=prompt_slots.new_zeros(batch, 0, 0),
        back=back,
        even_prompts=bool(real.all()),
        even_completions=True,
        scored=nothing,
        targets=nothing,
        places=nothing,
    )


def pack_sequences(ids: Tensor, mask: Tensor, scored: Tensor) -> Packed:
    """The layout of whole sequences, each a prompt; its own tokens are scored, not completions.

    The token before predicts a scored token; the last token of a sequence is never fed.

    Args:
        ids: int [N, T], right-padded.
        mask: bool [N, T]; every row has at least two tokens.
        scored: bool [N, T]; True where the token's log-probability is wanted, row by row.

    Raises:
        ShapeError: a row has fewer than two tokens, or `scored` has a first token or padding.
    """
    if bool((scored & ~mask).any() | scored[:, 0].any()):
        raise ShapeError("pack_sequences: scored has padding, or a first token, which has no past")
    fed = mask[:, 1:]  # [N, T - 1]; True where the token before it is fed
    slots = (fed.flatten().cumsum(0) - 1).view(fed.shape)
    wanted = scored[:, 1:]
    return replace(
        pack(ids[:, :-1], fed),
        scored=slots[wanted],
        targets=ids[:, 1:][wanted],
        extremes=extremes_of(ids[:, 1:][wanted]),
        places=scored.flatten().nonzero().squeeze(-1),
    )
