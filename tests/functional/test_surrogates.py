"""The importance ratio and the per-token terms, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rl4bio.errors import ShapeError
from rl4bio.functional.objective import TokenBatch
from rl4bio.functional.surrogates import (
    above_cap,
    cispo_term,
    clipped_term,
    importance_ratio,
    outside_clip,
    sapo_term,
    vespo_term,
)
from rl4bio.sections import GRPOConfig

LN2 = math.log(2.0)
NAN = float("nan")


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def tokens(
    advantages: torch.Tensor,
    logprobs: torch.Tensor | None = None,
    old_logprobs: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> TokenBatch:
    """A batch as the terms get it, advantages [N, 1]; what a term does not read is 0."""
    blank = torch.zeros_like(advantages)
    return TokenBatch(
        logprobs=blank if logprobs is None else logprobs,
        old_logprobs=blank if old_logprobs is None else old_logprobs,
        advantages=advantages,
        mask=torch.ones_like(blank, dtype=torch.bool) if mask is None else mask,
    )


BOUNDS = GRPOConfig(clip_low=0.2, clip_high=0.28)


def test_importance_ratio_by_hand() -> None:
    old = torch.full((2, 3), -1.0, dtype=torch.float64)
    new = old + torch.tensor([[LN2, 3 * LN2, NAN], [NAN, NAN, NAN]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    token = importance_ratio(new, old, mask, level="token")
    torch.testing.assert_close(token, torch.tensor([[2, 8, 1], [1, 1, 1]]).double())
    # the geometric mean of 2 and 8; an empty row has ratio 1
    torch.testing.assert_close(importance_ratio(new, old, mask, level="sequence"), column(4, 1))


def test_importance_ratio_stays_finite() -> None:
    new = torch.tensor([[float("-inf"), 500.0]])
    ratio = importance_ratio(new, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(ratio, torch.tensor([[math.exp(-20), math.exp(20)]]))


# (ratio, advantage) -> loss with bounds .8 and 1.28
@pytest.mark.parametrize(
    ("ratio", "advantage", "cap", "loss", "slope"),
    [
        (1.0, 2.0, None, -2.0, -2.0),  # inside: -rho A
        (1.5, 2.0, None, -2.56, 0.0),  # good and likelier than allowed: held at 1.28
        (0.5, 2.0, None, -1.0, -2.0),  # good but less likely: pulled back without limit
        (1.5, -2.0, None, 3.0, 2.0),  # bad and likelier: pushed back without limit
        (0.5, -2.0, None, 1.6, 0.0),  # bad and rare enough: held at .8
        (9.0, -2.0, None, 18.0, 2.0),
        (9.0, -2.0, 3.0, 6.0, 0.0),  # two-sided: held at the cap
        (2.5, -2.0, 3.0, 5.0, 2.0),  # below the cap nothing changes
        (9.0, 2.0, 3.0, -2.56, 0.0),
    ],
)
def test_clipped_term(
    ratio: float, advantage: float, cap: float | None, loss: float, slope: float
) -> None:
    rho = column(ratio).requires_grad_()
    term = clipped_term(tokens(column(advantage)), rho, replace(BOUNDS, ratio_cap=cap))
    term.sum().backward()
    assert term.item() == pytest.approx(loss)
    assert rho.grad is not None
    assert rho.grad.item() == pytest.approx(slope)


def test_cispo_term_caps_the_weight_and_keeps_the_gradient() -> None:
    logprobs = column(-1.0, -1.0).requires_grad_()
    term = cispo_term(
        tokens(column(0.5, 0.5), logprobs), column(2.0, 9.0), replace(BOUNDS, clip_high=5.0)
    )
    torch.testing.assert_close(term, column(1.0, 2.5))
    term.sum().backward()
    assert logprobs.grad is not None
    torch.testing.assert_close(logprobs.grad, column(-1.0, -2.5))


def test_sapo_term_by_hand() -> None:
    # rho = 1: sigmoid(0) = 1/2, so -(2 / tau) A in value and -A in slope
    rho = column(1.0, 1.0, 2.0).requires_grad_()
    term = sapo_term(tokens(column(3.0, -3.0, 3.0)), rho, BOUNDS)
    # the last: sigmoid(1) = .731059, times -4 * 3
    torch.testing.assert_close(term, column(-6.0, 6.0 / 1.05, -8.772703), atol=1e-6, rtol=0)
    term.sum().backward()
    assert rho.grad is not None
    torch.testing.assert_close(rho.grad[:2], column(-3.0, 3.0))
    # sigmoid(1) (1 - sigmoid(1)) = .196612, times -4 * 3
    assert rho.grad[2].item() == pytest.approx(-2.359343, abs=1e-6)


def test_vespo_term_by_hand() -> None:
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    old = torch.full((3, 2), -1.0, dtype=torch.float64)
    # completions twice as likely, by the sum of the log-ratios; the second row's other token is off
    new = old + torch.tensor([[LN2 / 2, LN2 / 2], [LN2, 5.0], [0.0, 0.0]], dtype=torch.float64)
    new.requires_grad_()
    batch = tokens(column(1.0, -1.0, 1.0), new, old, mask)
    vespo_term(batch, torch.ones(3, 1), BOUNDS).masked_fill(~mask, 0.0).sum().backward()
    # phi = 2^2 e^-3 for A >= 0, 2^3 e^-2 below; 1 at w = 1
    good, bad = 4 * math.exp(-3), 8 * math.exp(-2)
    expected = torch.tensor([[-good, -good], [bad, 0], [-1, -1]], dtype=torch.float64)
    torch.testing.assert_close(new.grad, expected)


def test_vespo_term_stays_finite_far_off_policy() -> None:
    mask = torch.ones(2, 40, dtype=torch.bool)
    old = torch.tensor([[-1.0], [-30.0]]).expand(2, 40)
    batch = tokens(torch.tensor([[1.0], [-1.0]]), torch.full((2, 40), -15.0), old, mask)
    term = vespo_term(batch, torch.ones(2, 1), BOUNDS)
    assert term.isfinite().all()


def test_clipped_tokens_follow_the_sign_of_the_advantage() -> None:
    ratio = column(0.7, 0.7, 1.4, 1.4, 1.0, 1.4)
    advantages = column(1.0, -1.0, 1.0, -1.0, 1.0, 0.0)
    clipped = outside_clip(ratio, advantages, BOUNDS)
    assert clipped.flatten().tolist() == [False, True, True, False, False, False]
    capped = above_cap(ratio, advantages, replace(BOUNDS, clip_high=1.2))
    assert capped.flatten().tolist() == [False, False, True, True, False, False]


def test_wrong_arguments_are_named() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ShapeError, match="old_logprobs has shape"):
        importance_ratio(torch.zeros(2, 3), torch.zeros(2, 4), mask)
    with pytest.raises(ShapeError, match="mask has dtype"):
        importance_ratio(torch.zeros(2, 3), torch.zeros(2, 3), mask.float())
    with pytest.raises(ValueError, match="unknown level 'word'"):
        importance_ratio(torch.zeros(2, 3), torch.zeros(2, 3), mask, level="word")  # type: ignore[arg-type]
