"""The importance ratio, and what each loss makes of it: one term a token, before any averaging.

Log-ratios are held within ±20 before they are exponentiated, which no paper says, so that an
advantage of 0 never meets an infinite ratio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl4bio.functional.objective import Objective, TokenBatch
from rl4bio.functional.shapes import at_least_float32, require_mask, require_shape

if TYPE_CHECKING:
    from rl4bio.sections import Level

MAX_LOG_RATIO = 20.0


def log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """log(policy / old policy) of each token, within ±20; 0 where the mask is False. All [N, C]."""
    difference = at_least_float32(logprobs) - at_least_float32(old_logprobs)
    return difference.masked_fill(~mask, 0.0).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def importance_ratio(
    logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, *, level: Level = "token"
) -> Tensor:
    """rho: how much likelier the sampled tokens are now than when they were sampled.

    token: exp(l - o). sequence: exp(mean over the row's tokens of l - o), one ratio a completion
    (GSPO; Zheng et al., 2025, arXiv:2507.18071).

    Args:
        logprobs: float [N, C], of the policy.
        old_logprobs: float [N, C], of the policy that sampled.
        mask: bool [N, C], True = counts in the loss.
        level: token or sequence.

    Returns:
        float [N, C] for token, 1 where the mask is False; [N, 1] for sequence, 1 for an empty row.

    Raises:
        ShapeError: the shapes differ, or mask is not boolean.
        ValueError: level is not a known one.
    """
    require_mask("importance_ratio", mask, ("N", "C"))
    require_shape("importance_ratio", "logprobs", logprobs, tuple(mask.shape))
    require_shape("importance_ratio", "old_logprobs", old_logprobs, tuple(mask.shape))
    difference = log_ratio(logprobs, old_logprobs, mask)
    if level == "token":
        return difference.exp()
    if level == "sequence":
        lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
        return (difference.sum(dim=1, keepdim=True) / lengths).exp()
    raise ValueError(f"importance_ratio: unknown level {level!r}")


def clipped_term(tokens: TokenBatch, ratio: Tensor, objective: Objective) -> Tensor:
    """-min(min(rho, cap) A, clip(rho, 1 - clip_low, 1 + clip_high) A).

    PPO's pessimistic clip (Schulman et al., 2017, arXiv:1707.06347) as GRPO uses it, with separate
    bounds (DAPO; Yu et al., 2025, arXiv:2503.14476) and an optional cap that also bounds the loss
    of bad tokens that became likely (two-sided clip; INTELLECT-2, 2025, arXiv:2505.07291). Without
    the cap those tokens, rho large and A < 0, are not clipped at all.

    Args:
        tokens: with advantages [N, 1].
        ratio: float [N, C] or [N, 1].
        objective: clip_low says how far below 1 the ratio may go, clip_high how far above;
            ratio_cap is above 1 + clip_high, or None for no cap.

    Returns:
        float, shaped as ratio.
    """
    advantages, cap = tokens.advantages, objective.ratio_cap
    clipped = ratio.clamp(1 - objective.clip_low, 1 + objective.clip_high)
    capped = ratio if cap is None else ratio.clamp(max=cap)
    return -torch.minimum(capped * advantages, clipped * advantages)


def cispo_term(tokens: TokenBatch, ratio: Tensor, objective: Objective) -> Tensor:
    """-sg(min(rho, cap)) A l: a capped weight instead of a clip, so every token keeps a gradient.

    CISPO (MiniMax-M1, 2025, arXiv:2506.13585), with an upper bound alone.

    Args:
        tokens: with advantages [N, 1].
        ratio: float [N, C] or [N, 1].
        objective: clip_high is the largest weight, as a ratio (5.0 is usual).

    Returns:
        float [N, C].
    """
    weight = ratio.detach().clamp(max=objective.clip_high)
    return -weight * tokens.advantages * tokens.logprobs


def sapo_term(tokens: TokenBatch, ratio: Tensor, objective: Objective) -> Tensor:
    """-(4 / tau) sigmoid(tau (rho - 1)) A: a gate that closes softly where a clip would cut.

    SAPO (Gao et al., 2025, arXiv:2511.20347). Its gradient at rho = 1 is the plain -A.

    Args:
        tokens: with advantages [N, 1].
        ratio: float [N, C] or [N, 1].
        objective: sapo_temperatures are tau for A > 0 and for the others; a higher one closes
            sooner.

    Returns:
        float, shaped as ratio.
    """
    advantages = tokens.advantages
    positive, negative = objective.sapo_temperatures
    tau = torch.where(advantages > 0, positive, negative).to(ratio.dtype)
    return -(4 / tau) * torch.sigmoid(tau * (ratio - 1)) * advantages


def vespo_term(tokens: TokenBatch, ratio: Tensor, objective: Objective) -> Tensor:
    """-sg(phi(w)) A l with phi(w) = w^k exp(lam (1 - w)) and w the ratio of whole completions.

    VESPO (2026, arXiv:2602.10693): w = exp(sum of the row's log-ratios); (k, lam) = (2, 3) where
    A >= 0, else (3, 2). phi is 1 at w = 1 and goes to 0 both ways, so w needs no bounds. A
    correction for what another program sampled is part of w.

    Args:
        tokens: with advantages [N, 1].
        ratio: not used: w is of whole completions whatever the level.
        objective: not used.

    Returns:
        float [N, C].
    """
    advantages, sampled = tokens.advantages, tokens.old_logprobs
    if tokens.correction is not None:
        sampled = sampled - tokens.correction.log()
    log_w = log_ratio(tokens.logprobs, sampled, tokens.mask).detach().sum(dim=1, keepdim=True)
    power = torch.where(advantages >= 0, 2.0, 3.0).to(log_w.dtype)
    decay = torch.where(advantages >= 0, 3.0, 2.0).to(log_w.dtype)
    phi = (decay + power * log_w - decay * log_w.exp()).exp()
    return -phi * advantages * tokens.logprobs


def outside_clip(ratio: Tensor, advantages: Tensor, objective: Objective) -> Tensor:
    """True where the ratio left its bounds on the side where the clip takes the gradient away.

    For sapo and vespo, which clip nothing, this is what a clip would have cut.

    Args:
        ratio: float [N, C] or [N, 1].
        advantages: float [N, 1].
        objective: with the bounds.

    Returns:
        bool, shaped as ratio.
    """
    low = (ratio < 1 - objective.clip_low) & (advantages < 0)
    high = (ratio > 1 + objective.clip_high) & (advantages > 0)
    return low | high


def above_cap(ratio: Tensor, advantages: Tensor, objective: Objective) -> Tensor:
    """True where the cap of cispo holds the weight; as `outside_clip`."""
    return (ratio > objective.clip_high) & (advantages != 0)
