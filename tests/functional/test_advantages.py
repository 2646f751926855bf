"""Group advantages: numbers by hand, recorded numbers, invariances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.advantages import (
    group_advantages,
    multi_reward_advantages,
    scored_std,
    zero_spread_groups,
)

NAN = float("nan")
REWARDS = [1.0, 0, 0, 1, 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 2]


def float64(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# group: mean 1/2, std sqrt(1/3) = .57735, .5 / (.57735 + .0001) = .865875; last group: mean 1/2,
# std 1, -.5 / 1.0001 = -.49995. batch: std over all twelve .603023, .5 / .603123 = .829019.
# The digits are those of TRL 1.16.
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("group", [0.865875, -0.865875, -0.865875, 0.865875, *[0] * 4, *[-0.49995] * 3, 1.49985]),
        ("batch", [0.829019, -0.829019, -0.829019, 0.829019, *[0] * 4, *[-0.829019] * 3, 2.487056]),
        ("none", [0.5, -0.5, -0.5, 0.5, *[0] * 4, *[-0.5] * 3, 1.5]),
    ],
)
def test_recorded_numbers(scale: str, expected: list[float]) -> None:
    advantages = group_advantages(float64(REWARDS), 4, scale=scale)  # type: ignore[arg-type]
    torch.testing.assert_close(advantages, float64(expected), atol=5.1e-7, rtol=0)


def test_an_unscored_row_counts_in_no_moment_and_gets_zero() -> None:
    # scored: 1, 0, 1; mean 2/3, std sqrt(1/3); (1/3) / .57745 = .57725
    advantages = group_advantages(float64([1, NAN, 0, 1]), 4)
    expected = float64([0.57725, 0, -1.154501, 0.57725])
    torch.testing.assert_close(advantages, expected, atol=5.1e-7, rtol=0)
    assert advantages[1] == 0


def test_leave_one_out_by_hand() -> None:
    # others of 3: (1 + 2) / 2 = 1.5; of 1: 2.5; of 2: 2
    advantages = group_advantages(float64([3, 1, 2]), 3, scale="none", baseline="leave_one_out")
    torch.testing.assert_close(advantages, float64([1.5, -1.5, 0]))
    # an unscored row is nobody's other: 3 - 1 and 1 - 3
    advantages = group_advantages(float64([3, 1, NAN]), 3, scale="none", baseline="leave_one_out")
    torch.testing.assert_close(advantages, float64([2, -2, 0]))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.45, 0.7, 1.1, 2.2])
@pytest.mark.parametrize("group_size", [3, 7, 8, 16])
def test_equal_rewards_give_exactly_zero_in_float32(
    scale: str, baseline: str, value: float, group_size: int
) -> None:
    # the second group has a spread, so that a batch scale is not 0
    rewards = torch.cat([torch.full((group_size,), value), torch.rand(group_size)])
    advantages = group_advantages(rewards, group_size, scale=scale, baseline=baseline, eps=1e-9)  # type: ignore[arg-type]
    assert (advantages[:group_size] == 0).all()
    assert advantages[group_size:].abs().max() > 0.01


def test_rewards_that_differ_by_rounding_alone_are_equal() -> None:
    # 0.1 + 0.2 is not 0.3 in floating point
    rewards = torch.tensor([0.3, 0.1 + 0.2, 0.3, 0.6 - 0.3], dtype=torch.float64)
    assert rewards.unique().numel() > 1
    assert (group_advantages(rewards, 4, eps=1e-12) == 0).all()
    next_up = torch.nextafter(torch.tensor(2.2), torch.tensor(3.0))
    assert (group_advantages(torch.stack([torch.tensor(2.2), next_up]), 2, eps=1e-9) == 0).all()


def test_a_small_but_real_difference_is_kept() -> None:
    advantages = group_advantages(float64([1.0, 1.0001]), 2, scale="none")
    torch.testing.assert_close(advantages, float64([-0.00005, 0.00005]))
    assert (group_advantages(float64([1e-7, 3e-7]), 2) != 0).all()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_constant_added_to_all_rewards_changes_nothing(scale: str) -> None:
    rewards = float64(REWARDS)
    expected = group_advantages(rewards, 4, scale=scale)  # type: ignore[arg-type]
    torch.testing.assert_close(group_advantages(rewards - 17.25, 4, scale=scale), expected)  # type: ignore[arg-type]


def test_the_order_of_groups_does_not_matter() -> None:
    groups = float64(REWARDS).view(3, 4)
    order = torch.tensor([2, 0, 1])
    expected = group_advantages(groups.flatten(), 4, scale="batch").view(3, 4)[order]
    advantages = group_advantages(groups[order].flatten(), 4, scale="batch").view(3, 4)
    torch.testing.assert_close(advantages, expected)


def test_fewer_than_two_scored_rows_give_zero() -> None:
    rewards = float64([NAN, NAN, 5.0, NAN, 0.0, 1.0])
    for scale in ("group", "batch", "none"):
        advantages = group_advantages(rewards, 2, scale=scale)  # type: ignore[arg-type]
        assert (advantages[:4] == 0).all()
        assert advantages[4] < 0 < advantages[5]
    assert (group_advantages(float64([1.0, 2.0]), 1) == 0).all()


def test_the_batch_spread_can_come_from_all_ranks() -> None:
    rewards = float64(REWARDS)
    together = group_advantages(rewards, 4, scale="batch")
    shared = scored_std(rewards)
    apart = [
        group_advantages(half, 4, scale="batch", batch_std=shared)
        for half in (rewards[:4], rewards[4:])
    ]
    torch.testing.assert_close(torch.cat(apart), together)


def test_an_infinite_reward_is_not_hidden() -> None:
    assert group_advantages(torch.tensor([float("inf"), 0.0]), 2).isnan().any()


def test_zero_spread_groups() -> None:
    rewards = torch.tensor([0.1, 0.1, 0.1, 0.2, NAN, 0.3, NAN, NAN, 0.0, 0.0])
    assert zero_spread_groups(rewards, 2).tolist() == [True, False, True, True, True]
    assert zero_spread_groups(torch.tensor([NAN, 0.5, 0.7]), 3).tolist() == [False]


def test_scored_std_by_hand() -> None:
    # 1, 2, 3: mean 2, squares 1 + 0 + 1 over 2
    assert scored_std(float64([1, NAN, 2, 3])).item() == 1.0
    assert scored_std(float64([NAN, 4])).item() == 0.0
    assert scored_std(float64([])).item() == 0.0


def test_multi_reward_advantages_by_hand() -> None:
    # each part is (+, -) in its group: Z = ±(d / 2) / (d / sqrt 2) = ±.70711 whatever its range d
    parts = torch.stack([float64([1, 0, 1, 0]), float64([100, 0, 0, 100])])
    advantages = multi_reward_advantages(parts, float64([1, 1]), 2, eps=0.0)
    # s = (1.41421, -1.41421, 0, 0); its std sqrt(4 / 3) = 1.154701
    torch.testing.assert_close(advantages, float64([1.224745, -1.224745, 0, 0]), atol=1e-6, rtol=0)


def test_multi_reward_advantages_equal_the_published_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    parts = torch.rand(3, 12, generator=generator, dtype=torch.float64)
    weights = float64([1.0, 0.3, -0.2])
    groups = parts.view(3, 3, 4)
    z = (groups - groups.mean(dim=2, keepdim=True)) / (groups.std(dim=2, keepdim=True) + 1e-4)
    s = torch.einsum("k,kn->n", weights, z.view(3, 12))
    expected = (s - s.mean()) / (s.std() + 1e-4)
    torch.testing.assert_close(multi_reward_advantages(parts, weights, 4), expected)


def test_multi_reward_parts_that_were_not_scored() -> None:
    parts = torch.stack([float64([1, 0, NAN, NAN]), float64([NAN, NAN, NAN, 1])])
    advantages = multi_reward_advantages(parts, float64([1, 1]), 4, eps=0.0)
    # the second part has one scored row and so none that counts; row 2 has no part at all.
    # s = (.70711, -.70711, -, 0) over three rows: std .70711
    torch.testing.assert_close(advantages, float64([1, -1, 0, 0]))


def test_multi_reward_groups_without_any_spread_are_exactly_zero() -> None:
    parts = torch.tensor([[0.1, 0.1, 0.1, 0.9, 0.2, 0.4], [2.2, 2.2, 2.2, 0.3, 0.1, 0.7]])
    advantages = multi_reward_advantages(parts, torch.tensor([1.0, 0.3]), 3, eps=1e-9)
    assert (advantages[:3] == 0).all()
    assert (advantages[3:] != 0).all()


def test_wrong_shapes_are_named() -> None:
    message = "group_advantages: rewards has 30 rows, not a multiple of group_size=8"
    with pytest.raises(ShapeError, match=message):
        group_advantages(torch.zeros(30), 8)
    with pytest.raises(ShapeError, match="rewards has shape"):
        group_advantages(torch.zeros(4, 2), 2)
    with pytest.raises(ShapeError, match="weights has shape"):
        multi_reward_advantages(torch.zeros(2, 4), torch.zeros(3), 2)
    with pytest.raises(ValueError, match="unknown scale 'std'"):
        group_advantages(torch.rand(4), 2, scale="std")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown baseline 'median'"):
        group_advantages(torch.rand(4), 2, baseline="median")  # type: ignore[arg-type]
