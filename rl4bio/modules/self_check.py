"""What must hold before the first update, or the run would optimise something else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl4bio.errors import ModelError
from rl4bio.modules.batching import cut, micro_batches, on_host
from rl4bio.modules.engine_check import LIMIT_NATS, engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.policy import Policy
from rl4bio.types import Rollout


def check_start(
    policy: Policy,
    rollout: Rollout,
    ref_logprobs: Tensor | None,
    *,
    max_tokens: int,
    precision: str,
    **distribution: Any,
) -> None:
    """Before the first update: ratio 1 and KL 0, on the first micro-batch.

    By a forward in the mode that updates run in: dropout that was left on would show.

    Args:
        policy: as it is trained.
        rollout: N rows, with the log-probabilities noted while sampling.
        ref_logprobs: float [N, C] of the reference, or None where there is none.
        max_tokens: of a micro-batch.
        precision: of the trainer, such as bf16-mixed.
        distribution: temperature and top_k that the completions were sampled at.

    Raises:
        ModelError: sampling and training disagree about log-probabilities, or the reference is not
            the model that training starts from.
    """
    packed = engine_serves(policy)
    host = on_host(rollout)
    numbers = micro_batches(host, max_tokens, packed=packed)[0]
    rows = cut(host, numbers)
    here = (numbers, slice(rows.width))
    with torch.no_grad():
        logprobs, _ = row_logprobs(policy, rows, **distribution)
    compare_start(
        logprobs,
        rollout.logprobs[here],
        None if ref_logprobs is None else ref_logprobs[here],
        rows.completion_mask.to(logprobs.device),
        limit=LIMIT_NATS[_compute_dtype(precision)],
    )


def _compute_dtype(precision: str) -> torch.dtype:
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32


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
