"""Sampling completions with plain forward passes.

With `scoring.py` the only code that calls the policy: a faster engine replaces these functions. The
sampling distribution is softmax(logits / temperature) over the whole vocabulary, or over its k most
likely tokens where `top_k` asks for it. A checkpoint's own generation defaults (top-k, top-p,
repetition penalty) play no part, so the log-probabilities are those of the distribution that was
sampled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl4bio.errors import ConfigError, NonFiniteError
from rl4bio.functional.logprobs import keep_top_k
from rl4bio.functional.masking import position_ids
from rl4bio.modules.conditions import repeat_conditions
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.sections import RolloutConfig
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class Completions:
    """N sampled completions, right-padded to the longest."""

    prompt_ids: Tensor  # int [N, P], left-padded
    prompt_mask: Tensor  # bool [N, P]
    ids: Tensor  # int [N, C]
    mask: Tensor  # bool [N, C]; True up to and including the first stop token
    logprobs: Tensor  # float [N, C]; 0 where the mask is False
    texts: list[str]  # N
    truncated: Tensor  # bool [N]; True = no stop token within the limit
    conditions: dict[str, Tensor]  # each [N, ...]

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion, the stop token included: int [N]."""
        return self.mask.sum(-1)


def pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [N, T] and mask [N, T] of rows aligned at the right; masks come from lengths."""
    width = max((len(row) for row in rows), default=0)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for n, row in enumerate(rows):
        if len(row):
            ids[n, width - len(row) :] = torch.tensor(row, dtype=torch.long)
            mask[n, width - len(row) :] = True
    return ids, mask


def pad_right(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids [N, T] and mask [N, T] of rows aligned at the left."""
    ids, mask = pad_left([row[::-1] for row in rows], pad_id)
    return ids.flip(-1), mask.flip(-1)


def check_positions(policy: Policy, samples: Sequence[Sample], limits: RolloutConfig) -> None:
    """Refuse completion limits that the model has no positions for.

    Raises:
        ConfigError: the longest prompt and a full completion do not fit.
    """
    if policy.max_positions is None or not samples:
        return
    raw = {sample.prompt: sample for sample in samples if isinstance(sample.prompt, str)}
    chats = [sample for sample in samples if not isinstance(sample.prompt, str)]
    measured = [(policy.count_tokens(s.prompt), s.uid) for s in [*raw.values(), *chats]]
    prompt, uid = max(measured, key=lambda pair: pair[0])
    room = policy.completion_room(prompt)
    if room is not None and limits.max_completion_tokens > room:
        raise ConfigError(
            f"rollout.max_completion_tokens: got {limits.max_completion_tokens}, but the model has "
            f"{policy.max_positions} positions and the longest prompt ({uid}) takes {prompt}; set "
            f"it to at most {max(room, 1)}, or lower rollout.max_prompt_tokens"
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


def pick_tokens(logprobs: Tensor, noise: Tensor | None) -> Tensor:
    """The next token of each row, int [N]: inverse-CDF sampling, or the most likely one.

    Args:
        logprobs: float32 [N, V], normalised.
        noise: float64 [N] in [0, 1); None is greedy.
    """
    if noise is None:
        return logprobs.argmax(-1)
    cumulative = logprobs.double().exp().cumsum(-1)
    target = (noise.to(cumulative.device) * cumulative[:, -1]).unsqueeze(-1)
    token = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    return token.clamp(max=logprobs.shape[-1] - 1)


def sample_completions(
    policy: Policy,
    prompts: Sequence[list[int]],
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int] | None,
    top_k: int | None = None,
    conditions: Mapping[str, Tensor] | None = None,
) -> Completions:
    """G completions of each prompt, sampled in eval mode without gradients.

    The prompts run once; their cache is then repeated G times. Rows that have ended are dropped
    from the batch once a quarter of it is done.

    Args:
        policy: sampled as it stands (adapter on).
        prompts: token ids of B prompts.
        group_size: G.
        max_new_tokens: limit of a completion, its stop token included.
        temperature: logits are divided by it.
        seeds: one per prompt; None decodes greedily.
        top_k: sample among the k most likely tokens; None is the whole vocabulary.
        conditions: of a conditioned model (`Policy.conditions`), each [B, ...].

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
    """
    conditions = conditions or {}
    with evaluating(policy.model):
        device = policy.device
        model: Any = policy.model
        ids, mask = (t.to(device) for t in pad_left(prompts, policy.pad_id))
        out = model(
            input_ids=ids,
            attention_mask=None if bool(mask.all()) else mask.long(),
            position_ids=position_ids(mask),
            use_cache=True,
            logits_to_keep=1,
            **conditions,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].repeat_interleave(group_size, 0)
        cache.batch_repeat_interleave(group_size)
        ids, mask = (t.repeat_interleave(group_size, 0) for t in (ids, mask))
        noise = None if seeds is None else draw_noise(seeds, group_size, max_new_tokens)
        tokens, logprobs, lengths, ended = _decode(
            model, logits, cache, mask, policy.stop_ids, noise, max_new_tokens, temperature, top_k
        )
    width = int(lengths.max())
    completion_mask = torch.arange(width, device=device) < lengths.unsqueeze(-1)
    rows = [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    return Completions(
        prompt_ids=ids,
        prompt_mask=mask,
        ids=tokens[:, :width].masked_fill(~completion_mask, policy.pad_id),
        mask=completion_mask,
        logprobs=logprobs[:, :width].masked_fill(~completion_mask, 0.0),
        texts=[policy.decode(row) for row in rows],
        truncated=~ended,
        conditions=repeat_conditions(conditions, group_size),
    )


def _decode(
    model: Any,
    logits: Tensor,
    cache: Any,
    prompt_mask: Tensor,
    stop_ids: Sequence[int],
    noise: Tensor | None,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token by token: ids [N, C], log-probs [N, C], lengths [N] and ended [N]."""
    num_rows, device = prompt_mask.shape[0], prompt_mask.device
    stops = torch.tensor(list(stop_ids), device=device)
    tokens = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
    lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
    rows = torch.arange(num_rows, device=device)  # original row of each row still in the batch
    padded = not bool(prompt_mask.all())  # without padding the models need no mask
    attention, position = prompt_mask.long(), prompt_mask.sum(-1)
    for t in range(max_new_tokens):
        if top_k is not None:
            logits = keep_top_k(logits, top_k)
        step = torch.log_softmax(logits.float() / temperature, dim=-1)
        if not bool(torch.isfinite(step.amax(-1)).all()):
            raise NonFiniteError(
                f"the policy's logits are not finite at completion token {t}; the precision is "
                "too small for this model (try trainer.precision=32-true) or the weights diverged"
            )
        token = pick_tokens(step, None if noise is None else noise[rows.cpu(), t])
        alive = ~ended[rows]
        tokens[rows, t] = token
        logprobs[rows, t] = step.gather(-1, token.unsqueeze(-1)).squeeze(-1)
        lengths[rows] += alive.long()
        ended[rows] |= torch.isin(token, stops)
        keep = ~ended[rows]
        left = int(keep.sum())
        if left == 0 or t == max_new_tokens - 1:
            break
        if left <= 0.75 * len(rows):
            index = keep.nonzero().squeeze(-1)
            cache.batch_select_indices(index)
            rows, token = rows[index], token[index]
            attention, position = attention[index], position[index]
        if padded:
            attention = torch.cat([attention, attention.new_ones(len(rows), 1)], dim=-1)
        out = model(
            input_ids=token.unsqueeze(-1),
            attention_mask=attention if padded else None,
            position_ids=position.unsqueeze(-1),
            past_key_values=cache,
            use_cache=True,
        )
        logits, position = out.logits[:, -1], position + 1
    return tokens, logprobs, lengths, ended
