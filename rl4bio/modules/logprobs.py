"""Log-probabilities of given completions under a policy, by its engine where that serves it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import halves, packed_logprobs
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import Rows
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.plain_logprobs import completion_logprobs
from rl4bio.modules.policy import Policy, evaluating


def row_logprobs(
    policy: Policy,
    rows: Rows,
    *,
    temperature: float,
    top_k: int | None = None,
    model: nn.Module | None = None,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of a micro-batch's completion tokens.

    Args:
        policy: whose engine decides on the path.
        rows: n completions behind U prompts, wherever they lie: on the host their layout waits for
            no device.
        temperature: logits are divided by it.
        top_k: truncates the distribution to the k likeliest tokens, and the given one.
        model: another model of the same architecture (a reference); None is the policy's own.
        entropy_gradient: whether the entropies have one.

    Returns:
        float32 [n, c] and float32 [n, c], both 0 where the mask is False.
    """
    model = policy.model if model is None else model
    if engine_serves(policy):
        packed = pack(
            rows.prompt_ids,
            rows.prompt_mask,
            rows.prompt_index,
            rows.completion_ids,
            rows.completion_mask,
            front=halves(model).front,
        ).to(policy.device)
        found = packed_logprobs(
            model,
            packed,
            temperature=temperature,
            top_k=top_k,
            conditions=rows.conditions,
            entropy_gradient=entropy_gradient,
        )
        count, width = rows.completion_ids.shape
        logprobs, entropy = (packed.unpack(values, (count, width)) for values in found)
        return logprobs, entropy
    rows = rows.to(policy.device)
    return completion_logprobs(
        model,
        rows.prompt_ids,
        rows.prompt_mask,
        rows.completion_ids,
        rows.completion_mask,
        temperature=temperature,
        top_k=top_k,
        prompt_index=rows.prompt_index,
        conditions=rows.conditions,
        entropy_gradient=entropy_gradient,
    )


def continuation_logprobs(
    policy: Policy, prompts: Sequence[list[int]], continuations: Sequence[Sequence[list[int]]]
) -> list[list[list[float]]]:
    """Log-probability of every token of the continuations of each prompt.

    Args:
        policy: in eval mode inside.
        prompts: token ids of B prompts.
        continuations: of each prompt its own, at least one, in tokens, at least one each.

    Returns:
        B lists with one list of token log-probabilities a continuation.
    """
    prompt_ids, prompt_mask = pad_left(prompts, policy.pad_id)
    ids, mask = pad_right([tokens for own in continuations for tokens in own], policy.pad_id)
    counts = torch.tensor([len(own) for own in continuations])
    index = torch.arange(len(prompts)).repeat_interleave(counts)
    rows = Rows(
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        prompt_index=index,
        completion_ids=ids,
        completion_mask=mask,
    )
    with evaluating(policy.model):
        logprobs, _ = row_logprobs(policy, rows, temperature=1.0)
    found = iter(logprobs.tolist())
    return [[next(found)[: len(tokens)] for tokens in own] for own in continuations]
