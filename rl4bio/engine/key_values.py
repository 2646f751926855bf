"""Keys and values while completions grow: the prompts' once, the completions' preallocated."""

from __future__ import annotations

from collections.abc import Callable
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


class LayerStates:
    """Keys and values of one layer.

    Args:
        front_key: of the prompts, [B, K, P, D]; None where prompts stand in the rows.
        front_value: as front_key.
        key: of the rows, [N, K, offset + room, D].
        value: as key.
    """

    def __init__(
        self, front_key: Tensor | None, front_value: Tensor | None, key: Tensor, value: Tensor
    ) -> None:
        self.front_key, self.front_value = front_key, front_value
        self.key, self.value = key, value
        self._operands: tuple[int, list[Tensor]] | None = None

    def change(self, own: Callable[[Tensor], Tensor], front: Tensor | None = None) -> None:
        """Put others in their place: the function's of the rows', the chosen ones of the prompts'.

        Args:
            own: from keys or values of the rows to the new ones.
            front: int, numbers of the prompts that stay; None = all.
        """
        self.key, self.value = own(self.key), own(self.value)
        if front is not None and self.front_key is not None and self.front_value is not None:
            self.front_key, self.front_value = self.front_key[front], self.front_value[front]
        self._operands = None

    def operands(self, end: int) -> list[Tensor]:
        """What batched products take, views made once: keys [N*K, D, end], values [N*K, end, D];

        then, where prompts are apart, theirs: [B*K, D, P] and [B*K, P, D].
        """
        if self._operands is None or self._operands[0] != end:
            found = [self.key[:, :, :end].flatten(0, 1).mT, self.value[:, :, :end].flatten(0, 1)]
            if self.front_key is not None and self.front_value is not None:
                found += [self.front_key.flatten(0, 1).mT, self.front_value.flatten(0, 1)]
            self._operands = end, found
        return self._operands[1]


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
        options = (scale, window, softcap)
        return live(self._attend_once, self.layers[layer], query, key, value, options)

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
        working = query.to(states.key.dtype)
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
        place = self.offset + self.step
        states.key.select(2, place).copy_(key)
        states.value.select(2, place).copy_(value)

    def advance(self) -> None:
        """The next token is fed."""
        self.step += 1
        self._biases: dict[Any, list[Tensor]] = {}
        if self.step == self.room:
            self.room += BLOCK
            for states in self.layers.values():
                states.change(_longer)
            self.seen = pad(self.seen, (0, BLOCK), value=float("-inf"))
        self.seen[:, self.width + self.step] = 0.0

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these (int, ascending); prompts without rows go too."""
        self.members = self.members[rows]
        live, members = torch.unique(self.members, return_inverse=True)
        fronts = live if len(live) < len(self.lengths) else None
        for states in self.layers.values():
            states.change(lambda own: own[rows], fronts)
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
        key_heads: int,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Attention of one token of every row, [N, heads, D] to [N*K, R, D] in one piece."""
        num_rows, heads, size = query.shape
        shape = (num_rows, key_heads, heads // key_heads)
        rows = query.reshape(num_rows * key_heads, -1, size)
        key, value, *front = states.operands(self.offset + self.places)
        bias, *front_bias = self._bias(window, shape, rows.dtype)
        scores = biased_scores(rows, key, bias, scale=scale, softcap=softcap)
        if not front:
            return torch.bmm(probabilities(scores, value.dtype), value)
        front_key, front_value = front
        blocks = self._blocks(rows, shape)
        ahead = biased_scores(blocks, front_key, front_bias[0], scale=scale, softcap=softcap)
        together = torch.cat([self._rows(ahead, shape), scores], dim=-1)
        weights = probabilities(together, value.dtype)
        mixed = torch.bmm(weights[:, :, self.width :], value)
        ahead = self._blocks(weights[:, :, : self.width], shape)
        return mixed + self._rows(torch.bmm(ahead, front_value), shape)

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
        self, window: int | None, shape: tuple[int, int, int], dtype: torch.dtype
    ) -> list[Tensor]:
        """0 where a key is seen, else -inf; made once a step.

        Returns:
            For the rows' own keys, [1, 1, places] or [N*K, R, places]; then, where prompts are
            apart, for theirs, [1, 1, P] or [B*K, G*R, P].
        """
        name = window, shape
        if name not in self._biases:
            end = self.offset + self.places
            bias = self._seen(window, dtype)[:, None]  # [1 or N, 1, P + places]
            if len(bias) > 1:
                bias = bias.repeat_interleave(shape[1], 0).expand(-1, shape[2], -1)
            own = bias[:, :, -end:]
            parts = [own if len(bias) == 1 else own.contiguous()]
            if self.shared:
                ahead = bias[:, :, : self.width]
                parts.append(ahead if len(bias) == 1 else self._blocks(ahead.contiguous(), shape))
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


def _longer(own: Tensor) -> Tensor:
    """With a block of empty places behind, [N, K, places, D]."""
    return torch.cat([own, torch.zeros_like(own[:, :, :BLOCK])], dim=2)


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
