"""Rank advantages, the best share and augmented likelihoods, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rl4bio.errors import ShapeError
from rl4bio.functional.advantages import group_advantages
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.functional.sample_efficient import augmented_advantages, best_rows
from rl4bio.sections import GRPOConfig

NAN = math.nan


def float64(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ranked(values: list[float], group_size: int) -> list[float]:
    return group_advantages(float64(values), group_size, scale="rank").tolist()  # type: ignore


def test_ranks_by_hand() -> None:
    # Below them 0, 2, 1, 2 of four; the equal ones share: 2 * 2.5 / 3 - 1 = 2/3.
    assert ranked([1, 3, 2, 3], 4) == pytest.approx([-1, 2 / 3, -1 / 3, 2 / 3])
    assert ranked([5, 1, 9, 9], 2) == pytest.approx([1, -1, 0, 0])  # equal rewards teach nothing
    assert ranked([4, NAN, 6, 5], 4) == pytest.approx([-1, 0, 1, 0])
    assert ranked([4, NAN], 2) == [0, 0]


def test_ranks_do_not_see_the_scale() -> None:
    values = [0.1, 0.7, 0.2, 0.5, 0.11, 0.3]
    stretched = [math.exp(9 * value) for value in values]
    assert ranked(values, 3) == pytest.approx(ranked(stretched, 3))
    assert sum(ranked(values, 6)) == pytest.approx(0)


def test_the_best_share_by_hand() -> None:
    rewards = float64([1, 3, 2, 3, 0, NAN, 7, NAN])
    # ceil(.5 * 4) = 2 of the first group; ceil(.5 * 2) = 1 of the second.
    expected = [False, True, False, True, False, False, True, False]
    assert best_rows(rewards, 4, 0.5).tolist() == expected
    assert best_rows(rewards, 4, 0.25).tolist()[:4] == [False, True, False, False]  # the first 3
    assert best_rows(rewards, 4, 1.0).tolist() == (~rewards.isnan()).tolist()
    assert best_rows(torch.arange(10.0), 10, 0.1).sum() == 1
    assert best_rows(torch.arange(10.0), 10, 0.3).sum() == 3
    with pytest.raises(ShapeError, match="multiple"):
        best_rows(rewards, 3, 0.5)


MASK = torch.tensor([[True, True], [True, False], [True, True]])


def test_augmented_advantages_by_hand() -> None:
    logprobs = float64([-1.0, -2.0, -3.0, NAN, -1.0, -1.0]).view(3, 2)
    prior = float64([-2.0, -2.5, -1.0, NAN, -1.0, -1.0]).view(3, 2)
    found = augmented_advantages(float64([0.5, 0, NAN]), logprobs, prior, MASK, sigma=10)
    assert found.tolist() == pytest.approx([-4.5 + 5 + 3, -1 + 3, 0])


def test_the_gradient_is_half_of_that_of_the_squared_loss() -> None:
    """REINVENT's loss by autograd against the policy loss with these advantages."""
    torch.manual_seed(1)
    logprobs = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    prior, rewards = torch.randn(3, 2, dtype=torch.float64), float64([0.2, 0.9, 0.4])
    augmented = (prior * MASK).sum(1) + 7 * rewards
    ((augmented - (logprobs * MASK).sum(1)) ** 2).mean().backward()
    expected = logprobs.grad
    assert expected is not None
    own = logprobs.detach().clone().requires_grad_()
    tokens = TokenBatch(
        logprobs=own,
        old_logprobs=own.detach(),
        advantages=augmented_advantages(rewards, own, prior, MASK, sigma=7),
        mask=MASK,
    )
    window = Window(num_rows=3, num_tokens=5, max_tokens=2)
    grpo_loss(tokens, GRPOConfig(loss="luspo"), window).total.backward()
    torch.testing.assert_close(2 * own.grad, expected)
