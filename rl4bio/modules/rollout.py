"""Sampling completions.

The sampling distribution is softmax(logits / temperature) over all tokens of the tokenizer that the
model has a row for, or over the k most likely of them where `top_k` asks for it. A checkpoint's own
generation defaults (top-k, top-p, repetition penalty) play no part, so the log-probabilities are
those of the distribution that was sampled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.cuda.compiled import compiling_if
from rl4bio.engine.decode import decode
from rl4bio.errors import ConfigError, about_sample
from rl4bio.functional.masking import lengths_to_mask, pad_left
from rl4bio.modules.conditions import repeat_conditions
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.opening import whole_texts
from rl4bio.modules.plain_decode import decode_plainly
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.sections import RolloutConfig
from rl4bio.types import Completions, Sample


def check_positions(policy: Policy, samples: Sequence[Sample], limits: RolloutConfig) -> None:
    """Refuse completion limits that the model has no positions for.

    Raises:
        ConfigError: the longest prompt and a full completion do not fit.
    """
    if policy.max_positions is None or not samples:
        return
    raw = {sample.prompt: sample for sample in samples if isinstance(sample.prompt, str)}
    chats = [sample for sample in samples if not isinstance(sample.prompt, str)]
    measured = []
    for sample in [*raw.values(), *chats]:
        with about_sample(sample.uid):
            tokens = policy.count_tokens(sample.prompt, sample.opening)
            measured.append((tokens, sample))
    check_room(policy, *max(measured, key=lambda pair: pair[0]), limits)


def check_room(policy: Policy, prompt: int, sample: Sample, limits: RolloutConfig) -> None:
    """Refuse completion limits that the model has no positions for behind its longest prompt.

    Args:
        policy: that completes.
        prompt: tokens of the longest.
        sample: whose prompt it is.
        limits: of completions.

    Raises:
        ConfigError: the prompt and a full completion do not fit.
    """
    room = policy.completion_room(prompt)
    if room is not None and limits.max_completion_tokens > room:
        raise ConfigError(
            f"rollout.max_completion_tokens: got {limits.max_completion_tokens}, but the model has "
            f"{policy.max_positions} positions{policy.position_note} and the longest prompt "
            f"({sample.uid}) takes {prompt}; set it to at most {max(room, 1)}, or lower "
            "rollout.max_prompt_tokens"
        )


def sampling_seed(seed: int, draw: int, round_number: int) -> int:
    """The seed of one group's sampling noise: 63 bits, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}/{draw}/{round_number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def draw_noise(seeds: Sequence[int], group_size: int, width: int) -> Tensor:
    """Uniform numbers [N, width] in [0, 1), those of a group from its own seed.

    Drawn on the CPU per group, so a rollout depends neither on the device nor on how prompts are
    spread over ranks.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        rows.append(torch.rand(group_size, width, generator=generator, dtype=torch.float64))
    return torch.cat(rows)


def sample_completions(
    policy: Policy,
    prompts: Sequence[list[int]],
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int] | None,
    starts: Sequence[str] = (),
    top_k: int | None = None,
    conditions: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
) -> Completions:
    """G completions of each prompt, sampled in eval mode without gradients.

    Args:
        policy: sampled as it stands (adapter on), by its engine where that serves the model.
        prompts: token ids of B prompts.
        group_size: G.
        max_new_tokens: limit of a completion, its stop token included.
        temperature: logits are divided by it.
        seeds: one per prompt; None decodes greedily.
        starts: of the B turns, which the prompts end with and the texts begin with; () for none.
        top_k: sample among the k most likely tokens; None is the whole vocabulary.
        conditions: of a conditioned model (`Policy.conditions`), each [B, ...].
        dtype: of the engine's copies of the weights; None is the policy's own.

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
    """
    conditions = conditions or {}
    ids, mask = (t.to(policy.device) for t in pad_left(prompts, policy.pad_id))
    options: dict[str, Any] = {
        "group_size": group_size,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "noise": None if seeds is None else draw_noise(seeds, group_size, max_new_tokens),
        "stop_ids": policy.stop_ids,
        "conditions": conditions,
    }
    with evaluating(policy.model):
        if engine_serves(policy):
            with compiling_if(policy.compile):  # the engine's check may have said no
                found = decode(policy.model, ids, mask, dtype=dtype, **options)
        else:
            found = decode_plainly(policy.model, ids, mask, **options)
    width = int(found.lengths.max())
    completion_mask = lengths_to_mask(found.lengths, width)
    rows = zip(found.tokens.tolist(), found.lengths.tolist(), strict=True)
    return Completions(
        prompt_ids=ids.repeat_interleave(group_size, 0),
        prompt_mask=mask.repeat_interleave(group_size, 0),
        completion_ids=found.tokens[:, :width].masked_fill(~completion_mask, policy.pad_id),
        completion_mask=completion_mask,
        logprobs=found.logprobs[:, :width],
        completions=whole_texts(
            [policy.decode(row[:length]) for row, length in rows], starts, group_size
        ),
        truncated=~found.ended,
        conditions=repeat_conditions(conditions, group_size),
    )
