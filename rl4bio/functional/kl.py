"""Estimates of the divergence KL(policy || reference) from the sampled tokens.

Schulman, 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html). With
u = log policy - log reference of a token that was sampled from the policy:

| estimator | value       | E[value]      | expected gradient of the value as a loss         |
|-----------|-------------|---------------|--------------------------------------------------|
| k1        | u           | KL            | 0: it regularises nothing                        |
| k2        | u^2 / 2     | KL + O(u^3)   | grad KL(policy || reference)                     |
| k3        | e^-u - 1 + u| KL            | grad KL(reference || policy), the other direction|

The expectation of a gradient misses how the policy moves the sampling itself. Multiplying by the
importance ratio, which is 1 in value on fresh samples but carries that gradient, puts it back: k1
and k3 then give grad KL(policy || reference), on older samples too. For k2, whose plain gradient is
right already, the ratio enters as a constant weight. A sequence-level ratio is a geometric mean
over tokens, not a probability ratio, so this is exact at token level alone; and as everywhere in
these losses, the effect of a token on the contexts that follow it is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.shapes import at_least_float32, require_shape

if TYPE_CHECKING:
    from rl4bio.sections import KLEstimator


def kl_terms(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    *,
    estimator: KLEstimator = "k3",
    ratio: Tensor | None = None,
) -> Tensor:
    """One estimate a token of KL(policy || reference); the module's table says what each one does.

    Args:
        logprobs: float [N, C], of the policy.
        ref_logprobs: float [N, C], of the reference.
        estimator: k1, k2 or k3.
        ratio: float [N, C] or [N, 1], the differentiable importance ratio to multiply by; None = 1.

    Returns:
        float [N, C]; k2 and k3 are never negative. Not clamped: a reference that holds a sampled
        token e^88 times as likely as the policy does overflows float32.

    Raises:
        ShapeError: the shapes differ.
        ValueError: estimator is not a known one.
    """
    require_shape("kl_terms", "logprobs", logprobs, ("N", "C"))
    require_shape("kl_terms", "ref_logprobs", ref_logprobs, tuple(logprobs.shape))
    u = at_least_float32(logprobs) - at_least_float32(ref_logprobs)
    if estimator == "k1":
        terms = u
    elif estimator == "k2":
        terms = u.square() / 2
    elif estimator == "k3":
        terms = torch.expm1(-u) + u
    else:
        raise ValueError(f"kl_terms: unknown estimator {estimator!r}")
    if ratio is None:
        return terms
    if ratio.shape not in (logprobs.shape, (logprobs.shape[0], 1)):
        expected = list(logprobs.shape)
        raise ShapeError(f"kl_terms: ratio has shape {list(ratio.shape)}, expected {expected}")
    return terms * (ratio.detach() if estimator == "k2" else ratio)
