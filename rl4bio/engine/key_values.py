"""Keys and values while completions grow: the prompts' once, the completions' preallocated."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.engine.attention import How, PackedAttention, capped, probabilities
from rl4bio.engine.attention_bias import seen_bias
from rl4bio.engine.cpu.tape import live, no_autocast
from rl4bio.engine.layer_states import LayerStates
from rl4bio.engine.layout import Packed

SHORT_PROMPT = 16
"""Prompts up to this many tokens are copied in front of each completion: one product, not two, in
every layer."""
BLOCK = 16
"""Places by which the rows' keys and values grow. Products run over whole blocks, what is not in
use masked: parts of a block that lie apart in memory take two to three times as long."""


class DecodeAttention:
    """First the prompts of a packed row, then one token of every row at a time.

    Rows are completions, those of a prompt side by side; all are at the same step. On a CPU keys
    and values are kept in float32, whose small products are faster there than bfloat16's.

    Args:
        packed: the prompts, without completions.
        group_size: completions of each prompt.
        room: places for completion tokens to begin with, at least 1.
        fused: whether the prompts' own attention uses fused kernels.
    """

    def __init__(self, packed: Packed, *, group_size: int, room: int, fused: bool) -> None:
        self.prompts = PackedAttention(packed, fused=fused)
        self.packed = packed
        batch, self.width = packed.prompt_slots.shape
        self.shared = self.width > SHORT_PROMPT
        self.offset = 0 if self.shared else self.width
        self.room = room + -(self.offset + room) % BLOCK
        """Places of the rows' own tokens; what is not in use is zero and masked."""
        device = packed.ids.device
        self.seen = torch.full((1, self.width + self.room), float("-inf"), device=device)
        """[1, P + room]: 0 where a key is seen by every row, in the simple case."""
        self.seen[:, : self.width] = 0.0
        self.members = torch.arange(batch, device=device).repeat_interleave(group_size)
        self.lengths = packed.prompt_lengths
        """Of the prompts that still have rows, int [B]."""
        self.layers: dict[int, LayerStates] = {}
        self.step = -1
        """Completion token that is fed; -1 while the prompts are."""
        self._arrange()

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        """See `attention.Layout`; T is the number of rows once the prompts are in."""
        if self.step < 0:
            self._store(layer, key, value)
            return self.prompts.attend(layer, query, key, value, how)
        return live(self._attend_once, self.layers[layer], query, key, value, how[:])

    def _attend_once(
        self,
        states: LayerStates,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        options: tuple[float, int | None, float | None],
    ) -> Tensor:
        """One token of every row; what is in force and where it stands changes with every step."""
        self.write(states, key, value)
        working = query.to(states.last[0].dtype)
        with no_autocast(query.device.type):
            mixed = self._mix(states, working, key.shape[1], *options)
        return mixed.view(query.shape).to(query.dtype)

    @property
    def now(self) -> int | Tensor:
        """The completion token that is fed."""
        return self.step

    @property
    def places(self) -> int:
        """Places of the rows' own tokens that products run over."""
        return self.room

    def write(self, states: LayerStates, key: Tensor, value: Tensor) -> None:
        """Note the fed token's keys and values, [N, K, D]."""
        states.write(self.offset + self.step, key, value)

    def advance(self) -> None:
        """The next token is fed."""
        self.step += 1
        self._biases: dict[Any, list[Tensor]] = {}
        if self.step == self.room:
            self.room += BLOCK
            for states in self.layers.values():
                states.grow(BLOCK)
            self.seen = pad(self.seen, (0, BLOCK), value=float("-inf"))
        self.seen[:, self.width + self.step] = 0.0

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (int, ascending); prompts without rows go too."""
        self.members = self.members[rows]
        live, members = torch.unique(self.members, return_inverse=True)
        fronts = live if len(live) < len(self.lengths) else None
        for states in self.layers.values():
            states.keep(rows, fronts)
        self.members, self.lengths = members, self.lengths[live]
        self._arrange()

    def _arrange(self) -> None:
        """Where rows stand in the blocks of their groups."""
        counts = torch.bincount(self.members, minlength=len(self.lengths))
        self.group = int(counts.max())
        self.even = int(counts.min()) == self.group
        first = counts.cumsum(0) - counts
        rows = torch.arange(len(self.members), device=counts.device)
        self.cells = self.members * self.group + rows - first[self.members]  # [N]
        self.slots = torch.zeros(
            len(counts) * self.group, dtype=torch.long, device=counts.device
        ).scatter_(0, self.cells, rows)

    def _store(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keep the prompts' keys and values, [T, K, D] each."""
        cpu = key.device.type == "cpu"
        dtype = torch.promote_types(key.dtype, torch.float32) if cpu else key.dtype
        fronts = [
            self.packed.prompt_blocks(states).transpose(1, 2).to(dtype).contiguous()
            for states in (key, value)
        ]  # [B, K, P, D]
        _, key_heads, _, size = fronts[0].shape
        shape = (len(self.members), key_heads, self.offset + self.room, size)
        own = key.new_zeros(shape, dtype=dtype), key.new_zeros(shape, dtype=dtype)
        if self.shared:
            self.layers[layer] = LayerStates((fronts[0], fronts[1]), own)
            return
        for block, front in zip(own, fronts, strict=True):
            block[:, :, : self.offset] = front[self.members]
        self.layers[layer] = LayerStates(None, own)

    def _mix(
        self,
        states: LayerStates,
        query: Tensor,
        key_heads: int,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Attention of one token of every row, [N, heads, D] to [N*K, R, D] in one piece."""
        num_rows, heads, size = query.shape
        shape = (num_rows, key_heads, heads // key_heads)
        rows = query.reshape(num_rows * key_heads, -1, size)
        operands = states.operands(self.offset + self.places)
        sizes = [len(value[0]) for _, value in operands]
        biases = self._bias(window, shape, sizes, rows.dtype)
        queries = [rows] * len(operands)
        if self.shared:
            queries[0] = self._blocks(rows, shape)
        scores = [
            biased_scores(one, key, bias, scale=scale, softcap=softcap)
            for one, (key, _), bias in zip(queries, operands, biases, strict=True)
        ]
        if self.shared:
            scores[0] = self._rows(scores[0], shape)
        together = scores[0] if len(scores) == 1 else torch.cat(scores, dim=-1)
        weights = list(probabilities(together, rows.dtype).split(sizes, dim=-1))
        if self.shared:
            weights[0] = self._blocks(weights[0], shape)
        mixed = [torch.bmm(part, value) for part, (_, value) in zip(weights, operands, strict=True)]
        if self.shared:
            mixed[0] = self._rows(mixed[0], shape)
        return functools.reduce(torch.add, mixed)

    def _blocks(self, rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """[N*K, R, X] as [B*K, G*R, X]: the rows of a prompt together."""
        _, key_heads, ratio = shape
        if not self.even:
            rows = rows.unflatten(0, shape[:2])[self.slots].flatten(0, 1)
        if key_heads > 1:
            rows = rows.view(-1, self.group, key_heads, ratio, rows.shape[-1]).transpose(1, 2)
        return rows.reshape(len(self.lengths) * key_heads, self.group * ratio, -1)

    def _rows(self, blocks: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """The inverse of `_blocks`."""
        _, key_heads, ratio = shape
        if key_heads > 1:
            blocks = blocks.view(-1, key_heads, self.group, ratio, blocks.shape[-1]).transpose(1, 2)
        rows = blocks.reshape(-1, ratio, blocks.shape[-1])
        return rows if self.even else rows.unflatten(0, (-1, key_heads))[self.cells].flatten(0, 1)

    def _bias(
        self,
        window: int | None,
        shape: tuple[int, int, int],
        sizes: Sequence[int],
        dtype: torch.dtype,
    ) -> list[Tensor]:
        """0 where a key is seen, else -inf; made once a step.

        Returns:
            For each part of so many keys, [1, 1, keys] or [N*K, R, keys]; for prompts that are
            apart [1, 1, P] or [B*K, G*R, P].
        """
        name = window, shape, *sizes
        if name not in self._biases:
            bias = self._seen(window, dtype)[:, None]  # [1 or N, 1, P + places]
            if len(bias) == 1:
                self._biases[name] = list(bias.split(sizes, dim=-1))
            else:
                bias = bias.repeat_interleave(shape[1], 0).expand(-1, shape[2], -1)
                parts = [part.contiguous() for part in bias.split(sizes, dim=-1)]
                if self.shared:
                    parts[0] = self._blocks(parts[0], shape)
                self._biases[name] = parts
        return self._biases[name]

    def _seen(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """[1 or N, P + places]: 0 where a key is seen, else -inf."""
        if self._all_seen(window):
            return self.seen.to(dtype)
        steps = torch.arange(self.width, device=self.members.device)
        lengths = self.lengths[self.members][:, None]
        front = seen_bias(lengths + self.now - steps, window, dtype)
        front = front.masked_fill(steps >= lengths, float("-inf"))
        own = self.now - torch.arange(self.places, device=self.members.device)
        own = seen_bias(own, window, dtype).expand(len(lengths), -1)
        return torch.cat([front, own], dim=-1)

    def _all_seen(self, window: int | None) -> bool:
        """Whether every row sees its whole prompt block and all that it has written."""
        far = window is not None and window <= self.width + self.step
        return not far and self.packed.even_prompts


def biased_scores(
    query: Tensor, key: Tensor, bias: Tensor, *, scale: float, softcap: float | None
) -> Tensor:
    """Scores of queries [M, R, D] and keys [M, D, L], scaled, capped, with a bias.

    In one pass without a soft cap: with few rows a pass costs what starting it costs.

    Args:
        bias: [M, R, L], or [1, 1, L].
    """
    if softcap is not None:
        return capped(torch.bmm(query, key), scale, softcap) + bias
    return torch.baddbmm(bias, query, key, alpha=scale)
