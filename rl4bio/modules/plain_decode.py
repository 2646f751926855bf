"""Token by token with a model's own attention and cache: the engine's oracle and its fallback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.known_tokens import restricted
from rl4bio.engine.record import Decoded, DecodingRecord
from rl4bio.engine.sampling import finest, sample_tokens
from rl4bio.functional.masking import position_ids
from rl4bio.modules.conditions import repeat_conditions
from rl4bio.modules.shared_prompts import no_cache, shares_prompts


@torch.no_grad()
def decode_plainly(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float,
    noise: Tensor | None,
    stop_ids: Sequence[int],
    top_k: int | None = None,
    conditions: Mapping[str, Tensor] | None = None,
) -> Decoded:
    """G completions of each prompt, as `rl4bio.engine.decode.decode`.

    The prompts run once; their cache is then repeated G times. Rows that have ended are dropped
    from the batch once a quarter of it is done. A model whose cache allows neither (see
    `shares_prompts`) runs every prompt G times and keeps all rows.

    Args:
        model: in eval mode.
        prompt_ids: int [B, P], left-padded.
        prompt_mask: bool [B, P].
        group_size: G; N = B * G.
        max_new_tokens: limit of a completion, its stop token included.
        temperature: logits are divided by it.
        noise: float64 [N, max_new_tokens] in [0, 1); None decodes greedily.
        stop_ids: tokens that end a completion.
        top_k: sample among the k likeliest tokens.
        conditions: of a conditioned model, each [B, ...].

    Raises:
        NonFiniteError: the model returned NaN or infinite logits.
        ModelError: the model takes no cache.
    """
    shared = shares_prompts(model)
    cache, logits, mask = _prefill(
        model, prompt_ids, prompt_mask, conditions or {}, group_size, shared=shared
    )
    device = mask.device
    record = DecodingRecord(len(mask), max_new_tokens, stop_ids, device)
    noise = None if noise is None else noise.to(finest(device)).to(device)
    padded = not bool(mask.all())  # without padding the models need no mask
    attention, position = mask.long(), mask.sum(-1)
    for t in range(max_new_tokens):
        token, logprobs = sample_tokens(
            logits,
            None if noise is None else noise[record.alive, t],
            temperature=temperature,
            top_k=top_k,
        )
        keep = record.note(t, token, logprobs)
        if t == max_new_tokens - 1 or not bool(keep.any()):
            break
        index = record.drop(keep) if shared else None
        if index is not None:
            cache.batch_select_indices(index)
            token, attention, position = token[index], attention[index], position[index]
        if padded:
            attention = torch.cat([attention, attention.new_ones(len(token), 1)], dim=-1)
        out = model(
            input_ids=token.unsqueeze(-1),
            attention_mask=attention if padded else None,
            position_ids=position.unsqueeze(-1),
            past_key_values=cache,
            use_cache=True,
        )
        logits, position = restricted(model, out.logits[:, -1]), position + 1
    return record.finish()


def _prefill(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    conditions: Mapping[str, Tensor],
    group_size: int,
    *,
    shared: bool,
) -> tuple[Any, Tensor, Tensor]:
    """Cache, logits [N, V] behind the prompts, and mask [N, P]; shared prompts run once.

    Raises:
        ModelError: the model takes no cache.
    """
    if not shared:
        prompt_ids, prompt_mask = (
            rows.repeat_interleave(group_size, 0) for rows in (prompt_ids, prompt_mask)
        )
        conditions = repeat_conditions(conditions, group_size)
    out = model(
        input_ids=prompt_ids,
        attention_mask=None if bool(prompt_mask.all()) else prompt_mask.long(),
        position_ids=position_ids(prompt_mask),
        use_cache=True,
        logits_to_keep=1,
        **conditions,
    )
    cache = getattr(out, "past_key_values", None)
    if cache is None:
        raise no_cache(model)
    logits, mask = restricted(model, out.logits[:, -1]), prompt_mask
    if shared:
        logits, mask = (rows.repeat_interleave(group_size, 0) for rows in (logits, mask))
        cache.batch_repeat_interleave(group_size)
    return cache, logits, mask
