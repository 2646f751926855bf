"""How the engine's attention takes the place of a model's own.

While `attending(model, layout)` is open, every attention layer that goes through transformers'
AttentionInterface calls `engine_attention`, which hands queries, keys and values to the layout in
force. No mask object is made (the name below has no mask function on purpose) and no cache.
Activation checkpointing runs layers again during the backward, when the `with` block is long left;
the scope therefore travels with every checkpointed call.

A compiled layer calls an operator instead, whose inside the compiler does not see: what it compiled
depends neither on the layout nor on the layer's number.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from rl4bio.engine.attention import How, Layout

NAME = "rl4bio_engine"

WARNING = "warn_if_padding_and_no_attention_mask"
"""A method of GPT-2 and others that looks for padding in the ids of every call. There is none in a
packed row, and a look at values waits for a GPU and cannot be recorded."""

_in_force: list[Layout] = []
_compiled_layer = 0
"""Number of the compiled layer that runs; the operator below takes tensors and constants alone."""


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
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if torch.compiler.is_compiling():
        return _attend_unseen(query, key, value, scale, sliding_window, softcap), None
    how = How(scale, sliding_window, softcap)
    return _attend(module.layer_idx, query, key, value, how), None


def _attend(layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    return _in_force[-1].attend(layer, query, key, value, how)[None]


@torch.library.custom_op("rl4bio::attend", mutates_args=())
def _attend_unseen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """`_attend` in the layer that `enter_compiled` has named."""
    mixed = _attend(_compiled_layer, query, key, value, How(scale, window, softcap))
    return mixed.to(query.dtype).contiguous()


@_attend_unseen.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *options: Any) -> Tensor:
    return query.new_empty(query.transpose(1, 2).shape)


def enter_compiled(layer: int) -> None:
    """Say which layer's compiled code is called next."""
    global _compiled_layer
    _compiled_layer = layer


AttentionInterface.register(NAME, engine_attention)


@contextlib.contextmanager
def attending(model: nn.Module, layout: Layout) -> Iterator[None]:
    """Inside, the model attends by the layout; afterwards by its own attention again."""
    configs: dict[int, Any] = {}
    checkpointed: list[Any] = []
    warning: list[Any] = []
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation_internal"):
            configs[id(config)] = config
        if "_gradient_checkpointing_func" in module.__dict__ and module.training:
            checkpointed.append(module)
        if hasattr(type(module), WARNING):
            warning.append(module)
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
    for module in warning:
        setattr(module, WARNING, _no_warning)
    try:
        with scope():
            yield
    finally:
        for module, func in plain:
            module._gradient_checkpointing_func = func
        for module in warning:
            vars(module).pop(WARNING, None)


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
