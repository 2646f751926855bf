"""Which parts of a model text reaches: a multimodal one has more, and they are not trained here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from torch import nn

log = logging.getLogger("rl4bio")


def beside_text(model: Any) -> list[str]:
    """Names of the modules that text never passes through: vision or audio towers, projectors.

    They are what a multimodal model has beside its decoder, its embeddings and its head.
    """
    if model.config.get_text_config() is model.config:
        return []
    reached = [model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings()]
    reached = [module for module in reached if module is not None]
    return list(_outside(model, "", reached))


def freeze_beside_text(model: Any) -> None:
    """Train the language model alone."""
    outside = beside_text(model)
    for name in outside:
        model.get_submodule(name).requires_grad_(False)
    if outside:
        log.info("training: the language model alone, not %s", ", ".join(outside))


def _outside(module: nn.Module, prefix: str, reached: list[nn.Module]) -> Iterator[str]:
    for name, child in module.named_children():
        if any(child is one for one in reached):
            continue
        inside = {id(part) for part in child.modules()}
        if any(id(one) in inside for one in reached):
            yield from _outside(child, f"{prefix}{name}.", reached)
        elif next(child.parameters(), None) is not None:
            yield f"{prefix}{name}"
