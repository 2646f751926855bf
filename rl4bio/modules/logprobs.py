"""Log-probabilities of given completions under a policy, by its engine where that serves it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rl4bio.engine.layout import pack
from rl4bio.engine.scoring import packed_logprobs
from rl4bio.functional.masking import pad_left, pad_right
from rl4bio.modules.batching import Rows
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.modules.scoring import completion_logprobs


def row_logprobs(
    policy: Policy,
    rows: Rows,
    *,
    temperature: float,
    top_k: int | None = None,
    model: nn.Module | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of a micro-batch's completion tokens.

    Args:
        policy: whose engine decides on the path.
        rows: n completions behind U prompts.
        temperature: logits are divided by it.
        top_k: truncates the distribution to the k likeliest tokens, and the given one.
        model: another model of the same architecture (a reference); None is the policy's own.

    Returns:
        float32 [n, c] and float32 [n, c] (no gradient), both 0 where the mask is False.
    """
    model = policy.model if model is None else model
    if not rows.conditions and engine_serves(policy):
        packed = pack(
            rows.prompt_ids,
            rows.prompt_mask,
            rows.prompt_index,
            rows.completion_ids,
            rows.completion_mask,
        )
        found = packed_logprobs(model, packed, temperature=temperature, top_k=top_k)
        count, width = rows.completion_ids.shape
        logprobs, entropy = (packed.unpack(values, (count, width)) for values in found)
        return logprobs, entropy
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
    )


def choice_logprobs(
    policy: Policy, prompts: Sequence[list[int]], choices: Sequence[list[int]]
) -> Tensor:
    """Summed log-probability of each choice as the continuation of each prompt.

    Args:
        policy: in eval mode inside.
        prompts: token ids of B prompts.
        choices: token ids of K continuations.

    Returns:
        float32 [B, K], on the CPU.
    """
    prompt_ids, prompt_mask = pad_left(prompts, policy.pad_id)
    ids, mask = pad_right([choice for _ in prompts for choice in choices], policy.pad_id)
    index = torch.arange(len(prompts)).repeat_interleave(len(choices))
    rows = Rows(
        prompt_ids=prompt_ids.to(policy.device),
        prompt_mask=prompt_mask.to(policy.device),
        prompt_index=index.to(policy.device),
        completion_ids=ids.to(policy.device),
        completion_mask=mask.to(policy.device),
    )
    with evaluating(policy.model):
        logprobs, _ = row_logprobs(policy, rows, temperature=1.0)
    return logprobs.sum(-1).view(len(prompts), len(choices)).cpu()
