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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from rl4bio.functional.kl import kl_terms
from rl4bio.functional.objective import Objective, TokenBatch, Window
from rl4bio.functional.shapes import at_least_float32, require_mask, require_shape
from rl4bio.functional.surrogates import (
    above_cap,
    cispo_term,
    clipped_term,
    importance_ratio,
    outside_clip,
    sapo_term,
    vespo_term,
)
from rl4bio.types import LossTerms


def row_means(mask: Tensor, window: Window) -> Tensor:
    """m / (length_i num_rows): the mean over rows of the means of their tokens."""
    lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return mask / (lengths * _denominator(window.num_rows))


def token_mean(mask: Tensor, window: Window) -> Tensor:
    """m / num_tokens: the mean over tokens (arXiv:2503.14476)."""
    return mask / _denominator(window.num_tokens)


def constant_length(mask: Tensor, window: Window) -> Tensor:
    """m / (num_rows max_tokens): the sum over a constant (arXiv:2503.20783)."""
    return mask / _denominator(window.num_rows * window.max_tokens)


def row_sums(mask: Tensor, window: Window) -> Tensor:
    """m / num_rows: the mean over rows of the sums of their tokens (arXiv:2602.05261)."""
    return mask / _denominator(window.num_rows)


@dataclass(frozen=True, slots=True)
class Loss:
    """One kind: what a token adds, what it is multiplied by, and what counts as clipped.

    `term` takes the tokens, with advantages [N, 1] and zeros where the mask is False, their ratio
    and the objective; `weigh` takes the mask as numbers [N, C] and the window.
    """

    term: Callable[[TokenBatch, Tensor, Objective], Tensor]
    weigh: Callable[[Tensor, Window], Tensor]
    clipped: Callable[[Tensor, Tensor, Objective], Tensor] = outside_clip
    corrects_itself: bool = False
    """Whether the term has the correction inside."""


LOSSES: Mapping[str, Loss] = {
    "grpo": Loss(clipped_term, row_means),
    "bnpo": Loss(clipped_term, token_mean),
    "dapo": Loss(clipped_term, token_mean),
    "dr_grpo": Loss(clipped_term, constant_length),
    "luspo": Loss(clipped_term, row_sums),
    "cispo": Loss(cispo_term, token_mean, clipped=above_cap),
    "sapo": Loss(sapo_term, row_means),
    "vespo": Loss(vespo_term, token_mean, corrects_itself=True),
}
"""`grpo.loss` -> what it is; the names are those of `rl4bio.sections.LossKind`."""


def _denominator(count: float) -> float:
    """The count, or 1 for a window without tokens, whose terms are all masked."""
    return count if count > 0 else 1.0


def grpo_loss(tokens: TokenBatch, objective: Objective, window: Window) -> LossTerms:
    """The loss of one micro-batch: the sum of weights * (correction * policy term + kl_coef * KL
    term + entropy_coef * entropy term).

    Shao et al., 2024 (arXiv:2402.03300), eq. 3, with term and weights of `objective.loss`. vespo
    always weighs whole completions, so there `objective.level` is that of the KL term's ratio
    alone. See `rl4bio.functional.kl` for the gradient of each KL estimator; a `kl_coef` of 0 only
    reports the divergence. With a kl_floor only rows whose KL_i, the sum over their tokens, is
    above it have a KL term: its gradient is that of max(0, KL_i - kl_floor). The entropy term of a
    token of row i is max(0, entropy_floor - H_i), H_i the mean entropy of the row's tokens.

    Args:
        tokens: of the micro-batch.
        objective: the section `grpo` of a configuration.
        window: what is divided by.

    Returns:
        Scalars that add up over the micro-batches of a window. total and policy are differentiable;
        kl (without ratio weight), clip_fraction, ratio_mean and entropy are detached token means.

    Raises:
        ShapeError: a shape differs from mask's, or mask is not boolean.
        ValueError: kl_coef is set without ref_logprobs; an unknown loss, level or estimator.
    """
    if objective.loss not in LOSSES:
        raise ValueError(f"grpo_loss: unknown loss {objective.loss!r}")
    if objective.kl_coef != 0 and tokens.ref_logprobs is None:
        raise ValueError(f"grpo_loss: kl_coef is {objective.kl_coef} but there are no ref_logprobs")
    loss, tokens = LOSSES[objective.loss], _readable(tokens)
    mask, logprobs, advantages = tokens.mask, tokens.logprobs, tokens.advantages
    ratio = importance_ratio(logprobs, tokens.old_logprobs, mask, level=objective.level)
    weights = loss.weigh(mask.to(logprobs.dtype), window)
    terms = loss.term(tokens, ratio, objective)
    if tokens.correction is not None and not loss.corrects_itself:
        terms = terms * tokens.correction
    policy = (weights * terms).sum()

    def mean(values: Tensor) -> Tensor:
        return values.detach().masked_fill(~mask, 0.0).sum() / _denominator(window.num_tokens)

    total, kl, entropy = policy, policy.new_zeros(()), policy.new_zeros(())
    if tokens.ref_logprobs is not None:
        estimator, reference = objective.kl_estimator, tokens.ref_logprobs
        divergences = kl_terms(logprobs.detach(), reference, estimator=estimator)
        kl = mean(divergences)
        if objective.kl_coef != 0:
            weight = ratio if objective.kl_ratio_weight else None
            penalty = kl_terms(logprobs, reference, estimator=estimator, ratio=weight)
            if objective.kl_floor > 0:
                sums = divergences.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True)
                penalty = penalty * (sums > objective.kl_floor)
            total = policy + objective.kl_coef * (weights * penalty).sum()
    if tokens.entropy is not None:
        entropy = mean(tokens.entropy)
        if objective.entropy_coef != 0:
            lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
            lack = objective.entropy_floor - tokens.entropy.sum(dim=1, keepdim=True) / lengths
            total = total + objective.entropy_coef * (weights * lack.clamp(min=0)).sum()
    clipped = loss.clipped(ratio, advantages, objective)
    return LossTerms(
        total=total,
        policy=policy,
        kl=kl,
        clip_fraction=mean(clipped.to(weights.dtype).expand_as(mask)),
        ratio_mean=mean(ratio.expand_as(mask)),
        entropy=entropy,
    )


def _readable(tokens: TokenBatch) -> TokenBatch:
    """The batch in float32 or better, with 0 where the mask is False and advantages [N, 1].

    Padding may hold NaN, and NaN times 0 is NaN. Nothing but `logprobs` and
    `entropy` keeps a gradient.

    Raises:
        ShapeError: a shape differs from mask's, or mask is not boolean.
    """
    mask = tokens.mask
    require_mask("grpo_loss", mask, ("N", "C"))
    require_shape("grpo_loss", "advantages", tokens.advantages, (mask.shape[0],))
    found: dict[str, Tensor] = {}
    for name in ("logprobs", "old_logprobs", "ref_logprobs", "entropy", "correction"):
        values = getattr(tokens, name)
        if values is None:
            continue
        require_shape("grpo_loss", name, values, tuple(mask.shape))
        values = at_least_float32(values).masked_fill(~mask, 0.0)
        found[name] = values if name in ("logprobs", "entropy") else values.detach()
    advantages = at_least_float32(tokens.advantages.detach())[:, None]
    return replace(tokens, advantages=advantages, **found)
