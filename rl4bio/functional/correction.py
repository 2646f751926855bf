"""Importance weights for completions that another program sampled.

A fast sampler has the policy's weights, but other kernels, another precision and other batches than
the training forward, so that it draws from slightly another distribution and the update is biased.
Truncated importance sampling (Yao et al., 2025, "Your Efficient RL Framework Secretly Brings You
Off-Policy RL Training", fengyao.notion.site/off-policy-rl) multiplies each token's policy term by

| level    | weight                                                             |
|----------|--------------------------------------------------------------------|
| token    | min(pi_old(y_t) / pi_sampler(y_t), cap)                            |
| sequence | min(prod_t pi_old(y_t) / pi_sampler(y_t), cap), one a completion   |

with pi_old the policy that sampled, as the training forward sees it. The sequence weight alone is
unbiased up to its cap, and varies more the longer a completion is; unlike the importance ratio of
level sequence it is a product, not a geometric mean. These are token_truncate and sequence_truncate
of TRL 1.16, whose default differs: it drops completions whose product exceeds 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from rl4bio.functional.shapes import at_least_float32, require_mask, require_shape

if TYPE_CHECKING:
    from rl4bio.sections import Level


def sampling_correction(
    logprobs: Tensor,
    sampled_logprobs: Tensor,
    mask: Tensor,
    *,
    cap: float,
    level: Level = "token",
) -> Tensor:
    """What the policy terms of sampled tokens are multiplied by; the module's table says with what.

    Args:
        logprobs: float [N, C], of the policy that sampled, by the training forward.
        sampled_logprobs: float [N, C], of the same tokens, as the sampler noted them.
        mask: bool [N, C], True = counts in the loss; values where it is False are never read.
        cap: the largest weight, as a ratio of probabilities; at least 1 (2 is usual).
        level: token or sequence.

    Returns:
        float [N, C], without gradient; 1 where the mask is False.

    Raises:
        ShapeError: the shapes differ, or mask is not boolean.
        ValueError: cap is below 1 or not a number, or level is not a known one.
    """
    require_mask("sampling_correction", mask, ("N", "C"))
    require_shape("sampling_correction", "logprobs", logprobs, tuple(mask.shape))
    require_shape("sampling_correction", "sampled_logprobs", sampled_logprobs, tuple(mask.shape))
    if not cap >= 1:
        raise ValueError(f"sampling_correction: cap is {cap}, needs at least 1")
    gap = at_least_float32(logprobs.detach()) - at_least_float32(sampled_logprobs.detach())
    gap = gap.masked_fill(~mask, 0.0)
    if level == "sequence":
        gap = gap.sum(dim=1, keepdim=True).expand_as(mask)
    elif level != "token":
        raise ValueError(f"sampling_correction: unknown level {level!r}")
    return gap.exp().clamp(max=cap).masked_fill(~mask, 1.0)
