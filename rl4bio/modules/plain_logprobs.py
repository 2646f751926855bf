"""Log-probabilities of given completions, with plain forward passes: the engine's oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.known_tokens import restricted
from rl4bio.functional.logprobs import logprobs_and_entropy
from rl4bio.functional.masking import position_ids
from rl4bio.modules.conditions import pick_conditions
from rl4bio.modules.shared_prompts import shares_prompts


def completion_logprobs(
    model: nn.Module,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    *,
    temperature: float,
    top_k: int | None = None,
    prompt_index: Tensor | None = None,
    conditions: Mapping[str, Tensor] | None = None,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies of completion tokens.

    With `prompt_index` every prompt runs once and its keys and values serve all of its completions,
    gradients included; without it, or where the model or activation checkpointing forbids that,
    prompt and completion run as one padded row. Both give the same numbers.

    Args:
        model: in the mode and with the adapter that the caller wants; gradients flow.
        prompt_ids: int [N, P], left-padded; [U, P] with prompt_index.
        prompt_mask: bool, as prompt_ids.
        completion_ids: int [N, C], right-padded.
        completion_mask: bool [N, C].
        temperature: logits are divided by it.
        top_k: truncates the distribution to the model's k most likely tokens, and the given one.
        prompt_index: int [N], the prompt of each completion.
        conditions: of a conditioned model, each [N, ...], as prompt_ids; [U, ...] likewise.
        entropy_gradient: whether the entropies have one.

    Returns:
        log-probs float32 [N, C] and entropies float32 [N, C], both 0 where the mask is False.
    """
    conditions = conditions or {}
    if prompt_index is not None and (checkpoints_activations(model) or not shares_prompts(model)):
        prompt_ids, prompt_mask = prompt_ids[prompt_index], prompt_mask[prompt_index]
        conditions = pick_conditions(conditions, prompt_index)
        prompt_index = None
    if prompt_index is None:
        logits = _logits_in_one_row(
            model, prompt_ids, prompt_mask, completion_ids, completion_mask, conditions
        )
    else:
        logits = _logits_behind_prompts(
            model,
            prompt_ids,
            prompt_mask,
            completion_ids,
            completion_mask,
            prompt_index,
            conditions,
        )
    logprobs, entropy = logprobs_and_entropy(
        restricted(model, logits), completion_ids, temperature=temperature, top_k=top_k
    )
    hidden = ~completion_mask
    entropy = entropy if entropy_gradient else entropy.detach()
    return logprobs.masked_fill(hidden, 0.0), entropy.masked_fill(hidden, 0.0)


def checkpoints_activations(model: nn.Module) -> bool:
    """Whether a training forward recomputes activations; transformers then drops the cache."""
    return any(getattr(m, "gradient_checkpointing", False) and m.training for m in model.modules())


def _logits_in_one_row(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    conditions: Mapping[str, Tensor],
) -> Tensor:
    """Logits [N, C, V] that predict the completion tokens, prompt and completion side by side.

    The last completion token is never fed, so it needs no position of the model.
    """
    mask = torch.cat([prompt_mask, completion_mask[:, :-1]], dim=-1)
    logits: Tensor = model(
        input_ids=torch.cat([prompt_ids, completion_ids[:, :-1]], dim=-1),
        attention_mask=mask.long(),
        position_ids=position_ids(mask),
        use_cache=False,
        logits_to_keep=completion_ids.shape[1],
        **conditions,
    ).logits
    return logits


def _logits_behind_prompts(
    model: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    completion_ids: Tensor,
    completion_mask: Tensor,
    prompt_index: Tensor,
    conditions: Mapping[str, Tensor],
) -> Tensor:
    """The same logits from a cache of the prompts; the last completion token is never fed."""
    prefix = model(
        input_ids=prompt_ids,
        attention_mask=prompt_mask.long(),
        position_ids=position_ids(prompt_mask),
        use_cache=True,
        logits_to_keep=1,
        **conditions,
    )
    first: Tensor = prefix.logits[prompt_index]  # [N, 1, V]
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
