"""Advantages for few scored completions: by rank, of the best share, from augmented likelihoods."""

from __future__ import annotations

import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.shapes import at_least_float32, require_mask, require_shape


def rank_scores(groups: Tensor) -> Tensor:
    """The place of each reward in its group: A_i = 2 r_i / (n - 1) - 1, in [-1, 1], with mean 0.

    r_i counts the group's scored rewards below, and half of the equal ones beside it; n are scored.
    No monotone change of the rewards changes it, so that neither a narrow nor a wide spread tells.

    Args:
        groups: float [B, G]; NaN marks a row that could not be scored.

    Returns:
        float [B, G]; 0 where the reward is NaN, and over a group with fewer than two rewards.
    """
    require_shape("rank_scores", "groups", groups, ("B", "G"))
    values = at_least_float32(groups)
    below = (values[:, :, None] > values[:, None, :]).sum(-1)
    equal = (values[:, :, None] == values[:, None, :]).sum(-1) - 1
    scored = ~values.isnan()
    others = (scored.sum(1, keepdim=True) - 1).clamp(min=1)
    found = (2 * below + equal).to(values.dtype) / others - 1
    alone = scored.sum(1, keepdim=True) < 2
    return found.masked_fill(~scored | alone, 0.0)


def best_rows(rewards: Tensor, group_size: int, share: float) -> Tensor:
    """The rows of the best share of each group: hill climbing, as in Neil et al., 2018, and Thomas
    et al., 2022 (Augmented Hill-Climb, doi:10.1186/s13321-022-00646-z).

    Args:
        rewards: float [N], rows of one group adjacent; NaN marks a row that could not be scored.
        group_size: G; divides N.
        share: above 0, at most 1; ceil(share * scored rows) are kept, of equal rewards the first.

    Returns:
        bool [N]; False where the reward is NaN.

    Raises:
        ShapeError: rewards is not one-dimensional, or group_size does not divide its length.
    """
    require_shape("best_rows", "rewards", rewards, ("N",))
    if group_size < 1 or rewards.shape[0] % group_size:
        raise ShapeError(
            f"best_rows: rewards has {rewards.shape[0]} rows, not a multiple of {group_size=}"
        )
    groups = at_least_float32(rewards).reshape(-1, group_size)
    scored = ~groups.isnan()
    order = groups.masked_fill(~scored, float("-inf")).argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1)
    # A share such as .1 of 10 is 1 row, though .1 * 10 may come out above.
    kept = torch.ceil(scored.sum(1, keepdim=True) * share - 1e-6)
    return ((place < kept) & scored).flatten()


def augmented_advantages(
    rewards: Tensor, logprobs: Tensor, prior: Tensor, mask: Tensor, *, sigma: float
) -> Tensor:
    """A_i = log p_prior(y_i) + sigma r_i - log p(y_i), whole completions, in nats.

    The distance to the augmented likelihood of REINVENT (Olivecrona et al., 2017,
    doi:10.1186/s13321-017-0235-x), whose loss is the mean of A_i^2. Its gradient is
    -2/N sum_i A_i grad log p(y_i): that of the policy loss of level token and loss luspo at ratio 1
    with these advantages held fixed, times 2.

    Args:
        rewards: float [N]; NaN marks a row that could not be scored.
        logprobs: float [N, C], of the policy that sampled.
        prior: float [N, C], of the reference.
        mask: bool [N, C], True = a token of the completion.
        sigma: nats for a unit of reward.

    Returns:
        float [N]; 0 where the reward is NaN.

    Raises:
        ShapeError: the shapes differ, or mask is not boolean.
    """
    require_mask("augmented_advantages", mask, ("N", "C"))
    require_shape("augmented_advantages", "rewards", rewards, (mask.shape[0],))
    for name, values in (("logprobs", logprobs), ("prior", prior)):
        require_shape("augmented_advantages", name, values, tuple(mask.shape))
    gap = at_least_float32(prior.detach()) - at_least_float32(logprobs.detach())
    found = gap.masked_fill(~mask, 0.0).sum(1) + sigma * at_least_float32(rewards)
    return found.masked_fill(rewards.isnan(), 0.0)
