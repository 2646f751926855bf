"""Masks and positions."""

from __future__ import annotations

import pytest
import torch

from rl4bio.errors import ShapeError
from rl4bio.functional.masking import completion_mask, lengths_to_mask, masked_mean, position_ids

NAN = float("nan")


def test_lengths_to_mask() -> None:
    mask = lengths_to_mask(torch.tensor([0, 2, 3, 9]), 3)
    assert mask.tolist() == [
        [False, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]


def test_completion_mask_keeps_the_first_end_token_and_drops_the_rest() -> None:
    # 7 ends a completion; 0 pads
    ids = torch.tensor([[5, 7, 0, 0], [5, 5, 5, 5], [7, 5, 7, 5]])
    assert completion_mask(ids, [7]).int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


def test_completion_mask_honours_every_end_token() -> None:
    ids = torch.tensor([[5, 106, 1, 0], [5, 1, 106, 0]])
    assert completion_mask(ids, [1, 106]).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert completion_mask(ids, [1]).int().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_completion_mask_where_the_pad_token_is_the_end_token() -> None:
    ids = torch.tensor([[5, 2, 2, 2], [5, 6, 5, 6], [2, 2, 2, 2]])
    assert completion_mask(ids, [2]).sum(dim=1).tolist() == [2, 4, 1]


def test_completion_mask_with_lengths_ends_rows_that_were_cut_short() -> None:
    ids = torch.tensor([[5, 5, 0, 0], [5, 7, 0, 0], [0, 0, 0, 0]])
    mask = completion_mask(ids, [7], lengths=torch.tensor([2, 4, 0]))
    assert mask.sum(dim=1).tolist() == [2, 2, 0]


def test_completion_mask_of_nothing() -> None:
    assert completion_mask(torch.empty(3, 0, dtype=torch.long), [7]).shape == (3, 0)
    assert completion_mask(torch.tensor([[1, 2]]), []).all()


def test_position_ids_start_at_the_first_real_token_whatever_the_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    assert position_ids(mask).tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 2, 2], [0, 0, 0, 0, 0]]


def test_masked_mean_ignores_what_is_masked_even_nan() -> None:
    values = torch.tensor([[1.0, 3.0, NAN], [NAN, NAN, NAN]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(values, mask).item() == 2.0
    assert masked_mean(values, mask, dim=1).tolist() == [2.0, 0.0]


def test_masked_mean_averages_bfloat16_in_float32() -> None:
    # bfloat16 cannot count past 256: its running sum of ones would stop there
    values = torch.ones(1000, dtype=torch.bfloat16)
    mean = masked_mean(values, torch.ones(1000, dtype=torch.bool))
    assert mean.dtype == torch.float32
    assert mean.item() == 1.0


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(
        ShapeError, match=r"completion_mask: ids has shape \[3\], expected \[N, C\]"
    ):
        completion_mask(torch.zeros(3, dtype=torch.long), [1])
    with pytest.raises(ShapeError, match="lengths has shape"):
        completion_mask(torch.zeros(3, 2, dtype=torch.long), [1], lengths=torch.zeros(2))
    with pytest.raises(ShapeError, match=r"dtype torch\.int64, expected torch\.bool"):
        position_ids(torch.ones(2, 2, dtype=torch.long))
    with pytest.raises(ShapeError, match="lengths has shape"):
        lengths_to_mask(torch.zeros(2, 2), 3)
