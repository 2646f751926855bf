"""The advantages of one step, with the moments that run over all ranks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl4bio.functional.advantages import group_advantages, multi_reward_advantages, scored_std
from rl4bio.functional.sample_efficient import augmented_advantages, best_rows
from rl4bio.sections import GRPOConfig
from rl4bio.types import Rollout, Scores


def advantages_over_ranks(
    scores: Scores, config: GRPOConfig, *, gather: Callable[[Tensor], Tensor], rank: int
) -> Tensor:
    """Advantages of this rank's rows, float [N]; batch moments run over all ranks.

    Args:
        scores: of the N rows of this rank, whose groups are whole.
        config: scale, baseline, and how several rewards are combined.
        gather: [N, ...] of this rank to [W*N, ...] of all ranks, in rank order.
        rank: from 0.
    """
    if config.combine == "normalize_then_sum":
        names = list(scores.parts)
        everywhere = gather(torch.stack([scores.parts[name] for name in names], dim=1))
        weights = torch.tensor([scores.weights[name] for name in names])
        advantages = multi_reward_advantages(
            everywhere.T,
            weights,
            config.group_size,
            scale=config.advantage_scale,
            baseline=config.baseline,
        )
        rows = len(scores.total)
        return advantages[rank * rows : (rank + 1) * rows]
    spread = None
    if config.advantage_scale == "batch":
        spread = scored_std(gather(scores.total))
    return group_advantages(
        scores.total,
        config.group_size,
        scale=config.advantage_scale,
        baseline=config.baseline,
        batch_std=spread,
    )


def augmented(scores: Scores, rollout: Rollout, prior: Tensor, sigma: float) -> Tensor:
    """Advantages of REINVENT's augmented likelihood, float [N].

    Args:
        scores: of the rollout.
        rollout: N rows, with the log-probabilities of the policy that sampled.
        prior: float [N, C], of the reference.
        sigma: nats for a unit of reward.
    """
    mask = rollout.completion_mask
    return augmented_advantages(scores.total, rollout.logprobs, prior, mask, sigma=sigma)


def of_the_best(advantages: Tensor, scores: Scores, config: GRPOConfig) -> Tensor:
    """The advantages, 0 for the rows outside of their group's best share."""
    if config.best_share == 1:
        return advantages
    kept = best_rows(scores.total, config.group_size, config.best_share)
    return advantages.masked_fill(~kept, 0.0)
