"""Keys and values while completions grow: the prompts' once, the completions' preallocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from rl4bio.engine.attention import PackedAttention, capped, probabilities
from rl4bio.engine.attention_bias import seen_bias
from rl4bio.engine.layout import Packed
from rl4bio.engine.tape import live, no_autocast

SHORT_PROMPT = 16
"""Prompts up to this many tokens are copied in front of each completion: one product, not two, in
every layer."""
BLOCK = 16
"""Places by which the rows' keys and values grow. Products run over all of them, what is not in use
masked: with whole blocks in one piece they are two to three times faster than with parts."""


@dataclass(slots=True)
class LayerStates:
    """Keys and values of one layer."""

    front_key: Tensor | None  # [B, K, P, D]; None where prompts stand in the rows
    front_value: Tensor | None
    key: Tensor  # [N, K, offset + room, D]
    value: Tensor


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
        """See `attention.Layout`; T is the number of rows once the prompts are in."""
        if self.step < 0:
            self._store(layer, key, value)
            return self.prompts.attend(
                layer, query, key, value, scale=scale, window=window, softcap=softcap
            )
        options = {"scale": scale, "window": window, "softcap": softcap}
        return live(self._attend_once, self.layers[layer], query, key, value, options)

    def _attend_once(
        self,
        states: LayerStates,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        options: dict[str, Any],
    ) -> Tensor:
        """One token of every row; what is in force and where it stands changes with every step."""
        self.write(states, key, value)
        dtype, device = query.dtype, query.device.type
        query = query.to(states.key.dtype).unflatten(1, (key.shape[1], -1))  # [N, K, R, D]
        with no_autocast(device):
            return self._mix(states, query, **options).flatten(1, 2).to(dtype)

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
        place = self.offset + self.step
        states.key[:, :, place] = key
        states.value[:, :, place] = value

    def advance(self) -> None:
        """The next token is fed."""
        self.step += 1
        self._biases: dict[int | None, Tensor] = {}
        if self.step == self.room:
            self.room += BLOCK
            for states in self.layers.values():
                empty = torch.zeros_like(states.key[:, :, :BLOCK])
                states.key = torch.cat([states.key, empty], dim=2)
                states.value = torch.cat([states.value, empty], dim=2)
            self.seen = pad(self.seen, (0, BLOCK), value=float("-inf"))
        self.seen[:, self.width + self.step] = 0.0

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (int, ascending); prompts without rows go too."""
        self.members = self.members[rows]
        live, members = torch.unique(self.members, return_inverse=True)
        fewer = len(live) < len(self.lengths)
        for states in self.layers.values():
            states.key, states.value = states.key[rows], states.value[rows]
            if fewer and states.front_key is not None and states.front_value is not None:
                states.front_key = states.front_key[live]
                states.front_value = states.front_value[live]
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
        own = [key.new_zeros(shape, dtype=dtype) for _ in fronts]
        if self.shared:
            self.layers[layer] = LayerStates(fronts[0], fronts[1], own[0], own[1])
            return
        for block, front in zip(own, fronts, strict=True):
            block[:, :, : self.offset] = front[self.members]
        self.layers[layer] = LayerStates(None, None, own[0], own[1])

    def _mix(
        self,
        states: LayerStates,
        query: Tensor,
        *,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Attention of one token of every row, [N, K, R, D]."""
        end = self.offset + self.places
        bias = self._bias(window, query.dtype)[:, None, None]  # [1 or N, 1, 1, P + places]
        options: dict[str, Any] = {"scale": scale, "softcap": softcap}
        own_key, own_value = states.key, states.value
        if end < own_key.shape[2]:
            own_key, own_value = own_key[:, :, :end], own_value[:, :, :end]
        if states.front_key is None or states.front_value is None:
            scores = biased_scores(query, own_key, bias, **options)
            return torch.matmul(probabilities(scores, own_value.dtype), own_value)
        front_bias, own_bias = bias.split([self.width, end], dim=-1)
        if len(bias) > 1:
            front_bias = self._blocks(front_bias.expand(*query.shape[:-1], -1))
        front = biased_scores(self._blocks(query), states.front_key, front_bias, **options)
        own = biased_scores(query, own_key, own_bias, **options)
        weights = probabilities(torch.cat([self._rows(front), own], dim=-1), own_value.dtype)
        front, own = weights.split([self.width, end], dim=-1)
        mixed = torch.matmul(own, own_value)
        return mixed + self._rows(torch.matmul(self._blocks(front), states.front_value))

    def _blocks(self, rows: Tensor) -> Tensor:
        """[N, K, R, X] as [B, K, G*R, X]: the rows of a prompt together."""
        if not self.even:
            rows = rows[self.slots]
        blocks = rows.unflatten(0, (-1, self.group)).transpose(1, 2)  # [B, K, G, R, X]
        return blocks.flatten(2, 3)

    def _rows(self, blocks: Tensor) -> Tensor:
        """The inverse of `_blocks`."""
        rows = blocks.unflatten(2, (self.group, -1)).transpose(1, 2).flatten(0, 1)
        return rows if self.even else rows[self.cells]

    def _bias(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """[1 or N, P + places], made once a step: 0 where a key is seen, else -inf."""
        if self._all_seen(window):
            return self.seen.to(dtype)
        if window not in self._biases:
            steps = torch.arange(self.width, device=self.members.device)
            lengths = self.lengths[self.members][:, None]
            front = seen_bias(lengths + self.now - steps, window, dtype)
            front = front.masked_fill(steps >= lengths, float("-inf"))
            own = self.now - torch.arange(self.places, device=self.members.device)
            own = seen_bias(own, window, dtype).expand(len(lengths), -1)
            self._biases[window] = torch.cat([front, own], dim=-1)
        return self._biases[window]

    def _all_seen(self, window: int | None) -> bool:
        """Whether every row sees its whole prompt block and all that it has written."""
        far = window is not None and window <= self.width + self.step
        return not far and self.packed.even_prompts


def biased_scores(
    query: Tensor, key: Tensor, bias: Tensor, *, scale: float, softcap: float | None
) -> Tensor:
    """Scores of queries [N, K, R, D] and keys [N, K, L, D], scaled, capped, with a bias.

    In one pass without a soft cap: with few rows a pass costs what starting it costs.
    """
    if softcap is not None:
        return capped(torch.matmul(query, key.mT), scale, softcap) + bias
    shape = (*query.shape[:-1], key.shape[2])
    if len(bias) > 1:
        bias = bias.expand(shape)
    scores = torch.baddbmm(
        bias.flatten(0, 1), query.flatten(0, 1), key.flatten(0, 1).mT, alpha=scale
    )
    return scores.view(shape)
