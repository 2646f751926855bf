"""Whether a model's cache can serve several completions of one prompt."""

from __future__ import annotations

import inspect
from typing import Any

from transformers.cache_utils import DynamicCache

from rl4bio.engine.known_tokens import inner_model
from rl4bio.errors import ModelError

ASKED = "rl4bio_shares_prompts"
"""Attribute of the inner model that keeps the answer."""


def shares_prompts(model: Any) -> bool:
    """Whether rows of the cache may be repeated, and chosen again.

    Keys and values may; the states of recurrent layers (Mamba, linear attention, convolutions) are
    kept by other classes, which cannot. Their prompts run once for each completion.

    Raises:
        ModelError: the model takes no cache in the usual form, so it is not sampled.
    """
    inner = inner_model(model)
    answer = getattr(inner, ASKED, None)
    if answer is None:
        if "past_key_values" not in inspect.signature(inner.forward).parameters:
            raise no_cache(inner)
        answer = not getattr(inner, "_is_stateful", False)
        for layer in DynamicCache(config=inner.config.get_text_config()).layers:
            ready = hasattr(layer, "batch_repeat_interleave")
            answer = answer and ready and hasattr(layer, "batch_select_indices")
        setattr(inner, ASKED, answer)
    return answer


def no_cache(model: Any) -> ModelError:
    """The error about a model that keeps its state elsewhere, or none."""
    return ModelError(
        f"{type(inner_model(model)).__name__} has no cache that rl4bio can sample with "
        "(past_key_values); choose another policy.checkpoint, or task=sft"
    )
