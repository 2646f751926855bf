"""From rewards to advantages: what a completion earned beyond the others of its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.sample_efficient import rank_scores
from rl4bio.functional.shapes import at_least_float32, require_shape

if TYPE_CHECKING:
    from rl4bio.sections import AdvantageScale

Baseline = Literal["mean", "leave_one_out"]

EQUAL_TOLERANCE = 1e-6
"""Rewards of a group count as equal when max - min is at most this share of their magnitude.

Eight units in the last place of float32. Without it the rounding of a mean becomes a signal: equal
rewards of 2.2 give advantages of 0.002 with eps = 1e-4 and of 0.9 with eps = 1e-9.
"""


def group_advantages(
    rewards: Tensor,
    group_size: int,
    *,
    scale: AdvantageScale = "group",
    baseline: Baseline = "mean",
    eps: float = 1e-4,
    batch_std: Tensor | None = None,
) -> Tensor:
    """Rewards relative to their group: A_i = (r_i - mean(r)) / (std(r) + eps).

    Shao et al., 2024 (arXiv:2402.03300), outcome supervision; scale="none" is the mean-only form of
    Liu et al., 2025 (arXiv:2503.20783), scale="batch" that of Liu et al., 2025 (arXiv:2508.08221).
    Mean and sample std (ddof 1) run over the rows that could be scored.

    Args:
        rewards: float [N], rows of one group adjacent; NaN marks a row that could not be scored.
        group_size: G; divides N.
        scale: divide by the group's spread, the batch's spread, or not at all; or take the place in
            the group instead (`rank_scores`), which is exactly linear in the rank.
        baseline: the mean of the group, or of its other rows (leave-one-out; Ahmadian et al., 2024,
            arXiv:2402.14740), which is larger by n / (n - 1) for n scored rows.
        eps: added to the spread, in units of reward.
        batch_std: [], the spread for scale="batch" where the batch spans several ranks
            (`scored_std` of the rewards of all of them); None takes that of the rewards given.

    Returns:
        float [N]; 0 where the reward is NaN, and exactly 0 over a group whose scored rewards are
        all equal or fewer than two. An infinite reward gives NaN, so that it is noticed.

    Raises:
        ShapeError: rewards is not one-dimensional, or group_size does not divide its length.
        ValueError: scale or baseline is not a known one.
    """
    if baseline not in ("mean", "leave_one_out"):
        raise ValueError(f"group_advantages: unknown baseline {baseline!r}")
    groups = _grouped("group_advantages", rewards, group_size)  # [B, G]
    scored = ~groups.isnan()
    num_scored = scored.sum(dim=1, keepdim=True)  # [B, 1]
    values = groups.masked_fill(~scored, 0.0)
    centred = values - values.sum(dim=1, keepdim=True) / num_scored.clamp(min=1)
    centred = centred.masked_fill(~scored, 0.0)
    others = (num_scored - 1).clamp(min=1)

    if scale == "none":
        advantages = centred
    elif scale == "group":
        std = (centred.square().sum(dim=1, keepdim=True) / others).sqrt()
        advantages = centred / (std + eps)
    elif scale == "batch":
        std = scored_std(rewards) if batch_std is None else batch_std.to(centred)
        advantages = centred / (std + eps)
    elif scale == "rank":
        advantages = rank_scores(groups)
    else:
        raise ValueError(f"group_advantages: unknown scale {scale!r}")
    if baseline == "leave_one_out" and scale != "rank":
        # r_i - (sum - r_i) / (n - 1) = n / (n - 1) * (r_i - mean)
        advantages = advantages * (num_scored / others)
    silent = zero_spread_groups(rewards, group_size)[:, None]
    return advantages.masked_fill(silent, 0.0).flatten()


def multi_reward_advantages(
    parts: Tensor,
    weights: Tensor,
    group_size: int,
    *,
    scale: AdvantageScale = "group",
    baseline: Baseline = "mean",
    eps: float = 1e-4,
) -> Tensor:
    """Normalise each reward in its group, add them up, then bring the sum to unit spread.

    Z_k = group_advantages(R_k); s = sum_k w_k Z_k; A = s / (std_batch(s) + eps). Liu et al., 2026
    (GDPO, arXiv:2601.05242): rewards of small spread keep their say beside rewards of large spread.
    The paper also subtracts the batch mean of s; that is 0 by construction, and subtracting its
    rounding error would give a signal to groups that have none.

    Args:
        parts: float [K, N], one row a reward; NaN marks what could not be scored.
        weights: float [K].
        group_size: G; divides N.
        scale: how each reward is normalised in the first step; the paper's is "group".
        baseline: of the first step.
        eps: added to both spreads.

    Returns:
        float [N]; 0 where no reward could be scored, and exactly 0 over a group in which every
        reward is constant. The batch is the N rows given: with several ranks, gather the rewards
        and keep the own rows of the result.

    Raises:
        ShapeError: parts is not [K, N], weights is not [K], or group_size does not divide N.
        ValueError: scale or baseline is not a known one.
    """
    require_shape("multi_reward_advantages", "parts", parts, ("K", "N"))
    require_shape("multi_reward_advantages", "weights", weights, (parts.shape[0],))
    parts = at_least_float32(parts)
    normalized = [
        group_advantages(part, group_size, scale=scale, baseline=baseline, eps=eps)
        for part in parts
    ]
    if not normalized:
        return parts.new_zeros(parts.shape[1])
    total = (weights.to(parts)[:, None] * torch.stack(normalized)).sum(dim=0)
    unscored = parts.isnan().all(dim=0)
    std = scored_std(total.masked_fill(unscored, float("nan")))
    return total / (std + eps)


def zero_spread_groups(rewards: Tensor, group_size: int) -> Tensor:
    """True for a group that teaches nothing: its scored rewards are all equal or fewer than two.

    Args:
        rewards: float [N], rows of one group adjacent; NaN marks a row that could not be scored.
        group_size: G; divides N.

    Returns:
        bool [B].

    Raises:
        ShapeError: rewards is not one-dimensional, or group_size does not divide its length.
    """
    groups = _grouped("zero_spread_groups", rewards, group_size)
    unscored = groups.isnan()
    highest = groups.masked_fill(unscored, float("-inf")).amax(dim=1)
    lowest = groups.masked_fill(unscored, float("inf")).amin(dim=1)
    magnitude = torch.maximum(highest.abs(), lowest.abs())
    spread = highest - lowest
    equal = (spread <= EQUAL_TOLERANCE * magnitude) & spread.isfinite()
    return equal | unscored.all(dim=1)


def scored_std(values: Tensor) -> Tensor:
    """Sample standard deviation (ddof 1) of the entries that are not NaN; 0 for fewer than two.

    Args:
        values: float [N].

    Returns:
        float [].

    Raises:
        ShapeError: values is not one-dimensional.
    """
    require_shape("scored_std", "values", values, ("N",))
    scored = ~values.isnan()
    kept = at_least_float32(values).masked_fill(~scored, 0.0)
    num_scored = scored.sum()
    centred = (kept - kept.sum() / num_scored.clamp(min=1)).masked_fill(~scored, 0.0)
    return (centred.square().sum() / (num_scored - 1).clamp(min=1)).sqrt()


def _grouped(where: str, rewards: Tensor, group_size: int) -> Tensor:
    """The rewards as [B, G]."""
    require_shape(where, "rewards", rewards, ("N",))
    if group_size < 1 or rewards.shape[0] % group_size:
        rows = rewards.shape[0]
        raise ShapeError(f"{where}: rewards has {rows} rows, not a multiple of {group_size=}")
    return at_least_float32(rewards).reshape(-1, group_size)
