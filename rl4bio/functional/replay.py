"""Advantages and weights of completions that an earlier policy sampled.

A replayed row adds -w_t A rho_t to the loss of its token t, as a sampled row does, and is counted
in the same denominators. rho is the importance ratio from the weights at the start of the step on,
1 in the first pass, and clipped like that of any row. Advantage A and weight w_t are

| advantage | A                                                           |
|-----------|-------------------------------------------------------------|
| mean_abs  | mean |A_i| over the sampled rows of the step, on all ranks  |
| unit      | 1, whatever the sampled rows are worth                      |
| stored    | what it was in the step that sampled the completion         |

| importance | w_t                                                                     |
|------------|-------------------------------------------------------------------------|
| on_policy  | 1                                                                       |
| truncated  | min(pi(y_t) / pi_then(y_t), cap), at the start of the step, held fixed  |

mean_abs is 0 in a step whose groups are all equal. A policy that has come to write nothing of worth
has such groups alone, and would never learn from the memory again; unit goes on.

on_policy is imitation of the best so far: its gradient is that of A log pi(y), whichever policy
found y. It has no bound on how far it pulls, but needs no knowledge of the sampler, so that it also
holds for completions that no policy wrote. truncated is V-trace's truncated importance sampling
(Espeholt et al., 2018, arXiv:1802.01561): what the policy has come to find unlikely counts less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.shapes import at_least_float32, require_shape

if TYPE_CHECKING:
    from rl4bio.sections import ReplayAdvantage, ReplayImportance


def replay_advantages(stored: Tensor, sampled: Tensor, *, kind: ReplayAdvantage) -> Tensor:
    """Advantages of R replayed rows; the module's first table says how they are made.

    Args:
        stored: float [R], the rows' advantages when they were sampled.
        sampled: float [M], the advantages of the step's sampled rows on all ranks.
        kind: mean_abs, unit or stored.

    Returns:
        float [R].

    Raises:
        ShapeError: one of them is not one-dimensional.
        ValueError: an unknown kind.
    """
    require_shape("replay_advantages", "stored", stored, ("R",))
    require_shape("replay_advantages", "sampled", sampled, ("M",))
    if kind == "stored":
        return at_least_float32(stored)
    if kind == "unit":
        return torch.ones_like(at_least_float32(stored))
    if kind != "mean_abs":
        raise ValueError(f"replay_advantages: unknown kind {kind!r}")
    return at_least_float32(sampled).abs().mean().expand(stored.shape[0]).clone()


def replay_weights(
    logprobs: Tensor, then: Tensor, mask: Tensor, *, importance: ReplayImportance, cap: float
) -> Tensor | None:
    """Weights of the replayed tokens; None = 1.

    Args:
        logprobs: float [N, C], of the policy at the start of the step.
        then: float [N, C], of the policy that sampled; NaN where none did, which weighs 1.
        mask: bool [N, C].
        importance: on_policy or truncated.
        cap: the largest weight.

    Raises:
        ValueError: an unknown importance.
    """
    if importance == "on_policy":
        return None
    if importance != "truncated":
        raise ValueError(f"replay_weights: unknown importance {importance!r}")
    known = torch.where(then.isnan(), logprobs.detach(), then)
    return sampling_correction(logprobs, known, mask, cap=cap)
