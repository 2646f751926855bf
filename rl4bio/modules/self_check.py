"""What must hold before the first update, or the run would optimise something else."""

from __future__ import annotations

import torch
from torch import Tensor

from rl4bio.errors import ModelError

GAP_LIMIT_NATS = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
"""Mean |sampling - training| log-probability above which the self-check stops the run."""


def compare_start(
    logprobs: Tensor, sampled: Tensor, reference: Tensor | None, mask: Tensor, *, limit: float
) -> None:
    """Importance ratio 1 and KL 0, as far as the precision allows.

    Args:
        logprobs: float [n, c], by the training forward.
        sampled: float [n, c], noted while sampling.
        reference: float [n, c], or None where there is no reference.
        mask: bool [n, c].
        limit: allowed mean difference, in nats a token.

    Raises:
        ModelError: sampling and training disagree about log-probabilities, or the reference is
            not the model that training starts from.
    """
    if not bool(mask.any()):
        return
    gap = float((logprobs - sampled).abs()[mask].mean())
    if not gap <= limit:
        raise ModelError(
            f"self-check: sampled and recomputed log-probabilities differ by {gap:.2g} nats on "
            f"average (limit {limit:g}), so the importance ratio is not 1 before any update; "
            "try trainer.precision=32-true or policy.attention=eager"
        )
    if reference is None:
        return
    distance = float((logprobs - reference).abs()[mask].mean())
    if not distance <= limit:
        raise ModelError(
            f"self-check: the policy is {distance:.2g} nats a token from its reference before "
            f"any update (limit {limit:g}); the reference is not the model that training "
            "starts from: check policy.checkpoint and policy.adapter.path"
        )
