"""What kind of model a checkpoint is: whether it writes text, and with which attention kernels."""

from __future__ import annotations

import re
from typing import Any

from transformers import AutoModelForCausalLM

from rl4bio.errors import ModelError

OTHER_TASKS = re.compile(
    "For(Masked|Sequence|Token|Question|Multiple|NextSentence|Image|Audio|Speech|Feature|PreTraining)"
    "|Encoder|Embedding"
)
"""Classes in a config.json whose weights were trained for something else than the next token."""


def language_model_class(checkpoint: str, config: Any) -> Any:
    """The class that a checkpoint's model is loaded as.

    Raises:
        ModelError: the checkpoint is no causal language model.
    """
    kind = f"a {config.model_type}"
    classes = AutoModelForCausalLM._model_mapping
    if type(config) not in classes:
        raise no_language_model(checkpoint, kind)
    found: Any = classes[type(config)]
    named = list(getattr(config, "architectures", None) or ())
    if found.__name__ in named:
        return found
    other = next((name for name in named if OTHER_TASKS.search(name)), None)
    if other is not None:
        raise no_language_model(checkpoint, f"{kind} ({other})")
    text = config.get_text_config()
    if getattr(text, "use_bidirectional_attention", None) is True:
        raise no_language_model(checkpoint, f"{kind} that reads in both directions")
    return found


def no_language_model(checkpoint: str, kind: str) -> ModelError:
    """The error that says so."""
    return ModelError(
        f"{checkpoint}: {kind} is no causal language model, which predicts a text token by token; "
        "choose another policy.checkpoint"
    )


def kernels_of(kind: Any) -> list[str]:
    """Attention kernels that a model class has beside eager."""
    flags = {"sdpa": "_supports_sdpa", "flash_attention_2": "_supports_flash_attn"}
    return [name for name, flag in flags.items() if getattr(kind, flag, False)]
