"""Soft caps: their precision, and that large scores under them are not kept for the backward."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rl4bio.engine import attention
from rl4bio.engine.attention import How, PackedAttention, capped
from rl4bio.engine.layout import Packed, pack
from rl4bio.engine.packed_logprobs import Halves


def test_caps_do_not_round_again() -> None:
    """50 tanh(40 / 50) is 33.20; bfloat16, with steps of 1/4 there, would give 33.25."""
    scores = torch.tensor([320.0], dtype=torch.bfloat16)
    assert capped(scores, 0.125, 50.0).item() == pytest.approx(50 * math.tanh(0.8), abs=1e-4)
    assert capped(scores, 0.125, None).dtype == torch.bfloat16
    head = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    torch.nn.init.constant_(head.weight, 40.0)
    parts = Halves(body=head, head=head, softcap=50.0)
    logits = parts.logits(torch.ones(1, 1, dtype=torch.bfloat16))
    assert logits.item() == pytest.approx(50 * math.tanh(0.8), abs=1e-4)


def groups(prompts: int, group: int) -> Packed:
    """Prompts of 40 tokens, one of them shorter, and completions of 24."""
    mask = torch.ones(prompts, 40, dtype=torch.bool)
    mask[0, :9] = False
    rows = prompts * group
    return pack(
        torch.zeros(prompts, 40, dtype=torch.long),
        mask,
        torch.arange(prompts).repeat_interleave(group),
        torch.zeros(rows, 24, dtype=torch.long),
        torch.ones(rows, 24, dtype=torch.bool),
    )


def attend(packed: Packed, states: list[Tensor], softcap: float | None) -> tuple[Tensor, int]:
    """The attention, and the numbers in the largest tensor that its backward waits for."""
    sizes = [0]

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    layout = PackedAttention(packed, fused=False)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        mixed = layout.attend(0, *states, How(scale=0.5, window=16, softcap=softcap))
    return mixed, max(sizes)


def test_large_capped_scores_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = groups(3, 4)
    tokens = packed.ids.shape[1]
    torch.manual_seed(0)
    shapes = [(tokens, 8, 4), (tokens, 2, 4), (tokens, 2, 4)]
    states = [torch.randn(shape, requires_grad=True) for shape in shapes]
    weights = torch.randn(tokens, 8, 4)
    found = []
    # Pairs of a prompt's group and one head: 4 * 23 * (40 + 23) = 5796, of all of them 139104.
    for large, piece in ((2**22, 2**24), (0, 4 * 5796), (0, 2 * 8 * 5796)):
        monkeypatch.setattr(attention, "LARGE_SCORES", large)
        monkeypatch.setattr(attention, "PIECE_SCORES", piece)
        mixed, largest = attend(packed, states, 2.0)
        found.append((mixed, torch.autograd.grad((mixed * weights).sum(), states)))
        if large:
            assert largest == 139104
        else:
            assert largest <= states[0].numel()
    for mixed, gradients in found[1:]:
        torch.testing.assert_close(mixed, found[0][0])
        for one, other in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(one, other)


def test_nothing_is_made_again_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces still bound the memory, with the same numbers."""
    packed = groups(2, 2)
    tokens = packed.ids.shape[1]
    states = [torch.randn(tokens, heads, 4) for heads in (4, 2, 2)]
    expected, _ = attend(packed, states, 2.0)
    monkeypatch.setattr(attention, "LARGE_SCORES", 0)
    monkeypatch.setattr(attention, "PIECE_SCORES", 1)
    monkeypatch.setattr(attention, "checkpoint", None)
    with torch.no_grad():
        torch.testing.assert_close(attend(packed, states, 2.0)[0], expected)
