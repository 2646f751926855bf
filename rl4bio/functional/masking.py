"""Which tokens are real: padded rows, masks from lengths and end tokens, positions from masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rl4bio.functional.shapes import require_mask, require_shape


def lengths_to_mask(lengths: Tensor, width: int) -> Tensor:
    """True at the first lengths[n] positions of row n.

    Args:
        lengths: int [N], in tokens.
        width: C, the padded width; longer rows are True all along.

    Returns:
        bool [N, C].

    Raises:
        ShapeError: lengths is not one-dimensional.
    """
    require_shape("lengths_to_mask", "lengths", lengths, ("N",))
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def position_ids(mask: Tensor) -> Tensor:
    """The place of each token among the real tokens of its row: cumsum(mask) - 1, at least 0.

    Models with learned positions (GPT-2, MolGPT) score a left-padded prompt wrongly without it.

    Args:
        mask: bool [N, T], True = real token; padding may be on either side.

    Returns:
        int [N, T].

    Raises:
        ShapeError: mask is not a two-dimensional boolean tensor.
    """
    require_mask("position_ids", mask, ("N", "T"))
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [N, T] and mask [N, T] of rows aligned at the right; masks come from lengths."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for n, row in enumerate(rows):
        if len(row):
            ids[n, width - len(row) :] = torch.tensor(row, dtype=torch.long)
            mask[n, width - len(row) :] = True
    return ids, mask


def pad_right(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [N, T] and mask [N, T] of rows aligned at the left."""
    ids, mask = pad_left([row[::-1] for row in rows], pad_id)
    return ids.flip(-1), mask.flip(-1)
