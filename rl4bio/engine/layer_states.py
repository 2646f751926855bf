"""Keys and values of one layer while completions grow."""

from __future__ import annotations

import torch
from torch import Tensor

SEALED = 2**21
"""Elements of a part from which on it does not grow, 8 MiB: what follows is a part of its own. A
copy of a small part costs less than one product more in every step. At 400 tokens of 64 rows (a
MolGPT of the published size) parts take 5 to 10 % off the rollout."""

KeyValues = tuple[Tensor, Tensor]
"""Keys and values, each [N, K, places, D]."""


class LayerStates:
    """Keys and values of one layer: the prompts' once, the rows' in parts, the last of which grows.

    Args:
        front: of the prompts, [B, K, P, D] each; None where prompts stand in the rows.
        own: of the rows, places not in use being zero.
    """

    def __init__(self, front: KeyValues | None, own: KeyValues) -> None:
        self.front = front
        self.parts = [own]
        self.sealed = 0
        """Places in all parts but the last."""
        self._operands: tuple[int, list[tuple[Tensor, Tensor]]] | None = None

    @property
    def last(self) -> KeyValues:
        """The part that is written to."""
        return self.parts[-1]

    def write(self, place: int, key: Tensor, value: Tensor) -> None:
        """Note keys and values, [N, K, D] each, in the last part."""
        for store, new in zip(self.last, (key, value), strict=True):
            store.select(2, place - self.sealed).copy_(new)

    def grow(self, more: int) -> None:
        """So many empty places more."""
        key, value = self.last
        num_rows, key_heads, places, size = key.shape
        shape = (num_rows, key_heads, more, size)
        if key.numel() >= SEALED:
            self.sealed += places
            self.parts.append((key.new_zeros(shape), value.new_zeros(shape)))
        else:
            empty = key.new_zeros(shape)
            self.parts[-1] = torch.cat([key, empty], dim=2), torch.cat([value, empty], dim=2)
        self._operands = None

    def keep(self, rows: Tensor, prompts: Tensor | None) -> None:
        """Drop all rows but these, and all prompts but these if any is given (int numbers)."""
        self.parts = [(key[rows], value[rows]) for key, value in self.parts]
        if self.front is not None and prompts is not None:
            self.front = self.front[0][prompts], self.front[1][prompts]
        self._operands = None

    def operands(self, end: int) -> list[tuple[Tensor, Tensor]]:
        """What batched products take, views made once.

        Args:
            end: places that are wanted, the sealed ones among them.

        Returns:
            Keys [N*K, D, places] and values [N*K, places, D] of each part; where prompts are apart
            theirs come first: [B*K, D, P] and [B*K, P, D].
        """
        if self._operands is None or self._operands[0] != end:
            *whole, (key, value) = self.parts
            end_of_last = end - self.sealed
            pairs = [*whole, (key[:, :, :end_of_last], value[:, :, :end_of_last])]
            if self.front is not None:
                pairs.insert(0, self.front)
            self._operands = end, [(k.flatten(0, 1).mT, v.flatten(0, 1)) for k, v in pairs]
        return self._operands[1]
