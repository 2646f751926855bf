"""Sampling completions, and the log-probabilities of given ones, with plain forward passes.

The only code that calls the policy for rollouts and scoring: a faster engine replaces these
functions. The sampling distribution is softmax(logits / temperature) over the whole vocabulary,
nothing else: a checkpoint's own generation defaults (top-k, top-p, repetition penalty) play no
part, so the log-probabilities are those of the distribution that was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.errors import NonFiniteError
from rl4bio.functional.logprobs import logprobs_and_entropy
from rl4bio.functional.masking import position_ids
from rl4bio.modules.batching import Rows
from rl4bio.modules.policy import Policy, evaluating


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

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
    """
    with evaluating(policy.model):
        device = policy.device
        model: Any = policy.model
        ids, mask = (t.to(device) for t in pad_left(prompts, policy.pad_id))
        out = model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=position_ids(mask),
            use_cache=True,
            logits_to_keep=1,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].repeat_interleave(group_size, 0)
        cache.batch_repeat_interleave(group_size)
        ids, mask = (t.repeat_interleave(group_size, 0) for t in (ids, mask))
        noise = None if seeds is None else draw_noise(seeds, group_size, max_new_tokens)
        tokens, logprobs, lengths, ended = _decode(
            model, logits, cache, mask, policy.stop_ids, noise, max_new_tokens, temperature
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token by token: ids [N, C], log-probs [N, C], lengths [N] and ended [N]."""
    num_rows, device = prompt_mask.shape[0], prompt_mask.device
    stops = torch.tensor(list(stop_ids), device=device)
    tokens = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(num_rows, max_new_tokens, device=device)
    lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=device)
    rows = torch.arange(num_rows, device=device)  # original row of each row still in the batch
    attention, position = prompt_mask.long(), prompt_mask.sum(-1)
    for t in range(max_new_tokens):
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
        attention = torch.cat([attention, attention.new_ones(len(rows), 1)], dim=-1)
        out = model(
            input_ids=token.unsqueeze(-1),
            attention_mask=attention,
            position_ids=position.unsqueeze(-1),
            past_key_values=cache,
            use_cache=True,
        )
        logits, position = out.logits[:, -1], position + 1
    return tokens, logprobs, lengths, ended


def completion_logprobs(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    *,
    temperature: float,
    prompt_index: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of completion tokens.

    With `prompt_index` every prompt runs once and its keys and values serve all of its completions,
    gradients included; without it, or where activation checkpointing forbids a cache, prompt and
    completion run as one padded row. Both give the same numbers.

    Args:
        model: in the mode and with the adapter that the caller wants; gradients flow.
        prompt_ids: int [N, P], left-padded; [U, P] with prompt_index.
        prompt_mask: bool, as prompt_ids.
        completion_ids: int [N, C], right-padded.
        completion_mask: bool [N, C].
        temperature: logits are divided by it.
        prompt_index: int [N], the prompt of each completion.

    Returns:
        log-probs float32 [N, C] and entropies float32 [N, C] (no gradient), both 0 where the mask
        is False.
    """
    if prompt_index is not None and checkpoints_activations(model):
        prompt_ids, prompt_mask = prompt_ids[prompt_index], prompt_mask[prompt_index]
        prompt_index = None
    if prompt_index is None:
        logits = _logits_in_one_row(model, prompt_ids, prompt_mask, completion_ids, completion_mask)
    else:
        logits = _logits_behind_prompts(
            model, prompt_ids, prompt_mask, completion_ids, completion_mask, prompt_index
        )
    logprobs, entropy = logprobs_and_entropy(logits, completion_ids, temperature=temperature)
    hidden = ~completion_mask
    return logprobs.masked_fill(hidden, 0.0), entropy.detach().masked_fill(hidden, 0.0)


def checkpoints_activations(model: nn.Module) -> bool:
    """Whether a training forward recomputes activations; transformers then drops the cache."""
    return any(getattr(m, "gradient_checkpointing", False) and m.training for m in model.modules())


def row_logprobs(model: nn.Module, rows: Rows, *, temperature: float) -> tuple[Tensor, Tensor]:
    """`completion_logprobs` of a micro-batch."""
    return completion_logprobs(
        model,
        rows.prompt_ids,
        rows.prompt_mask,
        rows.completion_ids,
        rows.completion_mask,
        temperature=temperature,
        prompt_index=rows.prompt_index,
    )


def _logits_in_one_row(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
) -> Tensor:
    """Logits [N, C, V] that predict the completion tokens, prompt and completion side by side."""
    mask = torch.cat([prompt_mask, completion_mask], dim=-1)
    out = model(
        input_ids=torch.cat([prompt_ids, completion_ids], dim=-1),
        attention_mask=mask.long(),
        position_ids=position_ids(mask),
        use_cache=False,
        logits_to_keep=completion_ids.shape[1] + 1,
    )
    return out.logits[:, :-1]


def _logits_behind_prompts(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    prompt_index: Tensor,
) -> Tensor:
    """The same logits from a cache of the prompts; the last completion token is never fed."""
    prefix = model(
        input_ids=prompt_ids,
        attention_mask=prompt_mask.long(),
        position_ids=position_ids(prompt_mask),
        use_cache=True,
        logits_to_keep=1,
    )
    first = prefix.logits[prompt_index]  # [N, 1, V]
    if completion_ids.shape[1] == 1:
        return first
    cache = prefix.past_key_values
    cache.batch_select_indices(prompt_index)
    mask = torch.cat([prompt_mask[prompt_index], completion_mask[:, :-1]], dim=-1)
    out = model(
        input_ids=completion_ids[:, :-1],
        attention_mask=mask.long(),
        position_ids=position_ids(mask)[:, prompt_mask.shape[1] :],
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([first, out.logits], dim=1)


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
    table = torch.zeros(len(prompts), len(choices))
    ids, mask = (t.to(policy.device) for t in pad_left(prompts, policy.pad_id))
    with evaluating(policy.model):
        for k, choice in enumerate(choices):
            completion = torch.tensor([choice] * len(prompts), device=policy.device)
            logprobs, _ = completion_logprobs(
                policy.model,
                ids,
                mask,
                completion,
                torch.ones_like(completion, dtype=torch.bool),
                temperature=1.0,
            )
            table[:, k] = logprobs.sum(-1).cpu()
    return table
