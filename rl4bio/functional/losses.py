"""The GRPO loss and its relatives.

A loss is sum(weights * terms): terms made of importance ratio and advantage (surrogates.py), and
weights that hold mask and normalisation. The denominators in the weights count the *whole*
optimiser window: every micro-batch, and over several ranks the global count divided by their
number, since DDP averages gradients. So the losses of micro-batches simply add up, and the gradient
depends neither on how a window is cut into micro-batches nor on the number of ranks.

Completions that another program sampled bring a correction of the policy term (correction.py). It
enters as in TRL 1.16: a factor of each token's policy term, after any clip, and never of its KL
term; for vespo, a power of the ratio of whole completions, it is part of that ratio instead.

Departure: bnpo is the token-mean normalisation known under that name, not the Beta-normalised
advantage of arXiv:2506.02864; with the count of the whole window it equals dapo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl4bio.functional.kl import kl_terms
from rl4bio.functional.shapes import at_least_float32, require_mask, require_shape
from rl4bio.functional.surrogates import (
    cispo_term,
    clipped_term,
    clipped_tokens,
    importance_ratio,
    sapo_term,
    vespo_term,
)
from rl4bio.types import LossTerms

if TYPE_CHECKING:
    from rl4bio.sections import KLEstimator, Level, LossKind


def loss_weights(
    kind: LossKind,
    mask: Tensor,
    *,
    num_rows: float,
    num_tokens: float,
    max_tokens: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What each token's term is multiplied by before all are added up.

    | kind                     | weight                      | the window's loss                  |
    |--------------------------|-----------------------------|------------------------------------|
    | grpo, sapo               | m / (length_i * num_rows)   | row mean of token means            |
    | bnpo, dapo, cispo, vespo | m / num_tokens              | token mean (arXiv:2503.14476)      |
    | dr_grpo                  | m / (num_rows * max_tokens) | sum / constant (arXiv:2503.20783)  |
    | luspo                    | m / num_rows                | row mean of sums (arXiv:2602.05261)|

    Args:
        kind: the loss.
        mask: bool [N, C], rows of this micro-batch.
        num_rows: rows of the whole window, empty ones included, divided by the number of ranks.
        num_tokens: True entries in the masks of the whole window, divided by the number of ranks.
        max_tokens: the configured completion length, not the padded one, which differs by batch.
        dtype: of the result.

    Returns:
        float [N, C]; all 0 in a row without tokens and in a window without any.

    Raises:
        ShapeError: mask is not a two-dimensional boolean tensor.
        ValueError: kind is not a known one, or a count is negative or not a number.
    """
    require_mask("loss_weights", mask, ("N", "C"))
    counts = {"num_rows": num_rows, "num_tokens": num_tokens, "max_tokens": max_tokens}
    for name, count in counts.items():
        if not count >= 0:
            raise ValueError(f"loss_weights: {name} is {count}, needs a number of at least 0")
    weights = mask.to(dtype)
    if kind in ("grpo", "sapo"):
        lengths = weights.sum(dim=1, keepdim=True).clamp(min=1)
        return weights / (lengths * _denominator(num_rows))
    if kind in ("bnpo", "dapo", "cispo", "vespo"):
        return weights / _denominator(num_tokens)
    if kind == "dr_grpo":
        return weights / _denominator(num_rows * max_tokens)
    if kind == "luspo":
        return weights / _denominator(num_rows)
    raise ValueError(f"loss_weights: unknown kind {kind!r}")


def _denominator(count: float) -> float:
    """The count, or 1 for a window without tokens, whose terms are all masked."""
    return count if count > 0 else 1.0


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    ref_logprobs: Tensor | None = None,
    entropy: Tensor | None = None,
    correction: Tensor | None = None,
    kind: LossKind,
    level: Level,
    clip_low: float,
    clip_high: float,
    ratio_cap: float | None = None,
    sapo_temperatures: Sequence[float] = (1.0, 1.05),
    kl_coef: float = 0.0,
    kl_estimator: KLEstimator = "k3",
    kl_ratio_weight: bool = True,
    num_rows: float,
    num_tokens: float,
    max_tokens: int,
) -> LossTerms:
    """The loss of one micro-batch: sum of weights * (correction * policy term + kl_coef * KL term).

    Shao et al., 2024 (arXiv:2402.03300), eq. 3, with the terms and weights of `kind`.

    Args:
        logprobs: float [N, C], of the policy; the only input that gets a gradient.
        old_logprobs: float [N, C], of the policy that sampled; may be `logprobs` itself.
        advantages: float [N].
        mask: bool [N, C], True = counts in the loss; values where it is False are never read.
        ref_logprobs: float [N, C], of the reference; without it there is no KL term.
        entropy: float [N, C], to be logged.
        correction: float [N, C], from `sampling_correction`, token level for vespo; None = 1.
        kind: the loss.
        level: of the importance ratio; vespo always weighs whole completions, so there it is the
            level of the KL term's ratio alone.
        clip_low: lower bound of the ratio is 1 - clip_low.
        clip_high: upper bound is 1 + clip_high; for cispo the absolute cap itself.
        ratio_cap: two-sided clip of the clipped kinds; None = off.
        sapo_temperatures: for positive advantages and for the others.
        kl_coef: weight of the KL term, in units of reward per nat; 0 only reports the divergence.
        kl_estimator: k1, k2 or k3; see `rl4bio.functional.kl` for the gradient of each.
        kl_ratio_weight: multiply the KL term by the importance ratio.
        num_rows: rows of the whole window, divided by the number of ranks.
        num_tokens: masked-in tokens of the whole window, divided by the number of ranks.
        max_tokens: the configured completion length.

    Returns:
        Scalars that add up over the micro-batches of a window. total and policy are differentiable;
        kl (without ratio weight), clip_fraction, ratio_mean and entropy are detached token means.

    Raises:
        ShapeError: a shape differs from mask's, or mask is not boolean.
        ValueError: kl_coef is set without ref_logprobs; an unknown kind, level or estimator.
    """
    require_mask("grpo_loss", mask, ("N", "C"))
    require_shape("grpo_loss", "logprobs", logprobs, tuple(mask.shape))
    require_shape("grpo_loss", "old_logprobs", old_logprobs, tuple(mask.shape))
    require_shape("grpo_loss", "advantages", advantages, (mask.shape[0],))
    if kl_coef != 0 and ref_logprobs is None:
        raise ValueError(f"grpo_loss: kl_coef is {kl_coef} but there are no ref_logprobs")

    logprobs = _readable("logprobs", logprobs, mask)
    old_logprobs = _readable("old_logprobs", old_logprobs, mask).detach()
    advantages = at_least_float32(advantages.detach())[:, None]  # [N, 1]
    if correction is not None:
        correction = _readable("correction", correction, mask).detach()
    ratio = importance_ratio(logprobs, old_logprobs, mask, level=level)
    weights = loss_weights(
        kind,
        mask,
        num_rows=num_rows,
        num_tokens=num_tokens,
        max_tokens=max_tokens,
        dtype=logprobs.dtype,
    )

    if kind == "cispo":
        terms = cispo_term(logprobs, ratio, advantages, cap=clip_high)
    elif kind == "sapo":
        terms = sapo_term(ratio, advantages, temperatures=sapo_temperatures)
    elif kind == "vespo":
        sampler = old_logprobs if correction is None else old_logprobs - correction.log()
        terms = vespo_term(logprobs, sampler, advantages, mask)
    else:
        terms = clipped_term(
            ratio, advantages, clip_low=clip_low, clip_high=clip_high, ratio_cap=ratio_cap
        )
    if correction is not None and kind != "vespo":
        terms = terms * correction
    policy = (weights * terms).sum()

    def token_mean(values: Tensor) -> Tensor:
        return values.detach().masked_fill(~mask, 0.0).sum() / _denominator(num_tokens)

    total, kl, entropy_mean = policy, policy.new_zeros(()), policy.new_zeros(())
    if ref_logprobs is not None:
        ref_logprobs = _readable("ref_logprobs", ref_logprobs, mask).detach()
        kl = token_mean(kl_terms(logprobs.detach(), ref_logprobs, estimator=kl_estimator))
        if kl_coef != 0:
            weight = ratio if kl_ratio_weight else None
            penalty = kl_terms(logprobs, ref_logprobs, estimator=kl_estimator, ratio=weight)
            total = policy + kl_coef * (weights * penalty).sum()
    if entropy is not None:
        entropy_mean = token_mean(_readable("entropy", entropy, mask))
    clipped = clipped_tokens(kind, ratio, advantages, clip_low=clip_low, clip_high=clip_high)
    return LossTerms(
        total=total,
        policy=policy,
        kl=kl,
        clip_fraction=token_mean(clipped.to(weights.dtype).expand_as(mask)),
        ratio_mean=token_mean(ratio.expand_as(mask)),
        entropy=entropy_mean,
    )


def _readable(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """The values with 0 where the mask is False: padding may hold NaN, and NaN times 0 is NaN."""
    require_shape("grpo_loss", name, values, tuple(mask.shape))
    return at_least_float32(values).masked_fill(~mask, 0.0)
