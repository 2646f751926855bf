"""The packed row, against positions counted by hand."""

from __future__ import annotations

import pytest
import torch

from rl4bio.engine.layout import Packed, pack, pack_sequences
from rl4bio.errors import ShapeError


def two_prompts() -> Packed:
    """Prompts 10 11 12 and 20 21; completions 1 2 3 and 4, 5 6 and 7."""
    return pack(
        torch.tensor([[10, 11, 12], [0, 20, 21]]),
        torch.tensor([[True, True, True], [False, True, True]]),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0], [7, 0, 0]]),
        torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]).bool(),
    )


def test_tokens_positions_and_predictors() -> None:
    packed = two_prompts()
    # The last token of a completion is never fed: 1 2 | (none) | 5 | (none).
    assert packed.ids.tolist() == [[10, 11, 12, 20, 21, 1, 2, 5]]
    assert packed.positions.tolist() == [[0, 1, 2, 0, 1, 3, 4, 2]]
    assert packed.ids.shape == (1, 8)
    assert packed.prompt_slots.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert packed.prompt_lengths.tolist() == [3, 2]
    assert packed.own_slots.tolist() == [[[5, 6], [0, 0]], [[7, 0], [0, 0]]]
    # 1 from token 12, 2 from 1, 3 from 2; 4 from 12; 5 from 21, 6 from 5; 7 from 21.
    assert packed.scored.tolist() == [2, 5, 6, 2, 4, 7, 4]
    assert packed.targets.tolist() == [1, 2, 3, 4, 5, 6, 7]
    values = torch.arange(1.0, 8.0)
    assert packed.unpack(values, (4, 3)).tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0], [7, 0, 0]]


def test_blocks_and_row_are_inverse() -> None:
    packed = two_prompts()
    states = torch.randn(8, 2, 5)
    prompts, completions = packed.prompt_blocks(states), packed.completion_blocks(states)
    assert prompts.shape == (2, 3, 2, 5)
    assert completions.shape == (2, 2, 2, 2, 5)
    assert torch.equal(packed.row(prompts, completions), states)


def test_even_layouts_are_views() -> None:
    packed = pack(
        torch.tensor([[1, 2], [3, 4]]),
        torch.ones(2, 2, dtype=torch.bool),
        torch.tensor([0, 0, 1, 1]),
        torch.arange(12).view(4, 3),
        torch.ones(4, 3, dtype=torch.bool),
    )
    assert packed.even_prompts
    assert packed.even_completions
    states = torch.randn(packed.ids.shape[1], 4)
    blocks = packed.prompt_blocks(states), packed.completion_blocks(states)
    assert [block.shape for block in blocks] == [(2, 2, 4), (2, 2, 2, 4)]
    assert all(block._base is states for block in blocks)
    assert torch.equal(packed.row(*blocks), states)


def test_prompts_alone() -> None:
    packed = pack(torch.tensor([[0, 8, 9]]), torch.tensor([[False, True, True]]))
    assert packed.ids.tolist() == [[8, 9]]
    assert packed.scored.numel() == 0


def test_refusals() -> None:
    ids, mask = torch.tensor([[1, 2]]), torch.tensor([[False, False]])
    with pytest.raises(ShapeError, match="a prompt has no token"):
        pack(ids, mask)
    full = torch.ones(2, 1, dtype=torch.bool)
    with pytest.raises(ShapeError, match="must ascend"):
        pack(torch.tensor([[1], [2]]), full, torch.tensor([1, 0]), torch.tensor([[3], [4]]), full)


def test_sequences_are_prompts_whose_own_tokens_are_scored() -> None:
    """10 11 12 13, 20 21 and 30 31 32; the last of each is never fed."""
    ids = torch.tensor([[10, 11, 12, 13], [20, 21, 0, 0], [30, 31, 32, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    scored = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]]).bool()
    packed = pack_sequences(ids, mask, scored)
    assert packed.ids.tolist() == [[10, 11, 12, 20, 30, 31]]
    assert packed.positions.tolist() == [[0, 1, 2, 0, 0, 1]]
    assert packed.prompt_slots.tolist() == [[0, 1, 2], [3, 0, 0], [4, 5, 0]]
    assert packed.prompt_lengths.tolist() == [3, 1, 2]
    assert packed.own_slots.numel() == 0
    # 12 from 11, 13 from 12, 21 from 20, 31 from 30; 32 is not wanted.
    assert packed.scored.tolist() == [1, 2, 3, 4]
    assert packed.targets.tolist() == [12, 13, 21, 31]
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    table = [[0, 0, 1, 2], [0, 3, 0, 0], [0, 4, 0, 0]]
    assert packed.unpack(values, (3, 4)).tolist() == table


def test_sequences_that_cannot_be_scored() -> None:
    ids, mask = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])
    for wrong in ([True, True, False], [False, True, True]):
        with pytest.raises(ShapeError, match="padding, or a first token"):
            pack_sequences(ids, mask, torch.tensor([wrong]))
    single = torch.tensor([[True, False, False]])
    with pytest.raises(ShapeError, match="has no token"):
        pack_sequences(ids, single, torch.zeros(1, 3, dtype=torch.bool))
