"""Masks and positions."""

from __future__ import annotations

import pytest
import torch

from rl4bio.errors import ShapeError
from rl4bio.functional.masking import lengths_to_mask, position_ids


def test_lengths_to_mask() -> None:
    mask = lengths_to_mask(torch.tensor([0, 2, 3, 9]), 3)
    assert mask.tolist() == [
        [False, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]


def test_position_ids_start_at_the_first_real_token_whatever_the_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2], [0, 0, 0, 0, 0]]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match=r"dtype torch\.int64, expected torch\.bool"):
        position_ids(torch.ones(2, 2, dtype=torch.long))
    with pytest.raises(ShapeError, match="lengths has shape"):
        lengths_to_mask(torch.zeros(2, 2), 3)
