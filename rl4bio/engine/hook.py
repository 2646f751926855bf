"""How the engine's attention takes the place of a model's own.

While `attending(model, layout)` is open, every attention layer that goes through transformers'
AttentionInterface calls `engine_attention`, which hands queries, keys and values to the layout in
force. No mask object is made (the name below has no mask function on purpose) and no cache.
Activation checkpointing runs layers again during the backward, when the `with` block is long left;
the scope therefore travels with every checkpointed call.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from rl4bio.engine.attention import Layout

NAME = "rl4bio_engine"

WARNING = "warn_if_padding_and_no_attention_mask"
"""A method of GPT-2 and others that looks for padding in the ids of every call. There is none in a
packed row, and a look at values waits for a GPU and cannot be recorded."""

_in_force: list[Layout] = []


def engine_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """A transformers attention function: [1, heads, T, D] to [1, T, heads, D].

    Raises:
        NotImplementedError: the layer asks for what no layout offers (sinks, dropout).
    """
    if dropout or kwargs.get("s_aux") is not None:
        raise NotImplementedError("the engine has neither attention dropout nor attention sinks")
    mixed = _in_force[-1].attend(
        module.layer_idx,
        *(states[0].transpose(0, 1) for states in (query, key, value)),
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=sliding_window,
        softcap=softcap,
    )
    return mixed[None], None


AttentionInterface.register(NAME, engine_attention)


@contextlib.contextmanager
def attending(model: nn.Module, layout: Layout) -> Iterator[None]:
    """Inside, the model attends by the layout; afterwards by its own attention again."""
    configs: dict[int, Any] = {}
    checkpointed: list[Any] = []
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            configs[id(config)] = config
        if "_gradient_checkpointing_func" in module.__dict__ and module.training:
            checkpointed.append(module)
    plain = [(module, module._gradient_checkpointing_func) for module in checkpointed]

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        before = [(config, config._attn_implementation_internal) for config in configs.values()]
        for config in configs.values():
            config._attn_implementation_internal = NAME
        _in_force.append(layout)
        try:
            yield
        finally:
            _in_force.pop()
            for config, name in before:
                config._attn_implementation_internal = name

    for module, func in plain:
        module._gradient_checkpointing_func = _carrying(func, scope)
    warning = [module for module in model.modules() if hasattr(module, WARNING)]
    for module in warning:
        setattr(module, WARNING, _no_warning)
    try:
        with scope():
            yield
    finally:
        for module, func in plain:
            module._gradient_checkpointing_func = func
        for module in warning:
            delattr(module, WARNING)


def _no_warning(*args: Any) -> None:
    pass


def _carrying(
    checkpoint: Callable[..., Any], scope: Callable[[], contextlib.AbstractContextManager[None]]
) -> Callable[..., Any]:
    """A checkpoint function whose calls enter the scope again when they are run again."""

    def carry(function: Callable[..., Any], *args: Any) -> Any:
        @functools.wraps(function)
        def inside(*inner: Any) -> Any:
            with scope():
                return function(*inner)

        return checkpoint(inside, *args)

    return carry
