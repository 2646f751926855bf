"""Decoder layers compiled by torch.compile, for decoding steps of fixed shapes.

A layer of Gemma 3 is about 70 kernels run one by one; compiled it is about a dozen, and a CUDA
graph then records those. One code serves all layers of a kind (full or sliding attention) and all
rollouts: it gets the weights as inputs, and attention is one operator to it (`hook`). The prompts'
pass, whose shapes vary, embedding, head and sampling are not compiled.

If the compiler fails (no triton, no C compiler, code that it does not know), layers run as they are
and it is not tried again in this process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

from rl4bio.engine.cuda.traceable import CannotTrace, traceable
from rl4bio.engine.hook import enter_compiled

log = logging.getLogger("rl4bio")

MAX_ROW_COUNTS = 8
"""Numbers of rows that layers are compiled for in one process; with others they run as they are.
A compilation takes seconds for each kind of layer."""
MAX_CODES = 16 * MAX_ROW_COUNTS
"""Codes that the compiler may keep: for each number of rows, kinds of layers and of autocast, of
several models."""

_backend: ContextVar[Any] = ContextVar("backend", default="auto")
_rows_met: set[int] = set()
_problem: str | None = None
"""Why the compiler is not used any more."""


@contextlib.contextmanager
def compiling(backend: str | Callable[..., Any] | None) -> Iterator[None]:
    """What layers are compiled with inside.

    Args:
        backend: of torch.compile, on every device; "auto" is inductor on CUDA where triton is
            installed and nothing elsewhere, as outside; None is nothing.
    """
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)


def compiling_if(allowed: bool) -> contextlib.AbstractContextManager[None]:
    """What layers are compiled with outside; nothing where it is not allowed."""
    return compiling(_backend.get() if allowed else None)


@contextlib.contextmanager
def compiled_layers(body: Any, *, rows: int) -> Iterator[None]:
    """Inside, the decoder layers run compiled, for calls of one shape.

    They get an instance attribute `forward`, as in `rollout_weights`, within which this is entered
    once the private weights are made.

    Args:
        body: the layers' model, or its method that runs them.
        rows: tokens of every call.
    """
    backend = _chosen(body, rows)
    layers = [] if backend is None else _compiled(body, backend)
    try:
        for layer, forward in layers:
            layer.forward = forward
        with _room_for_codes() if layers else contextlib.nullcontext():
            yield
    finally:
        for layer, _ in layers:
            del layer.forward


class _CompiledLayer:
    """What stands in for the forward of a decoder layer."""

    def __init__(self, layer: Any, run: Callable[..., Any]) -> None:
        self.plain: Callable[..., Any] = layer.forward
        self.twin = traceable(layer)
        self.number = _number(layer)
        self.run = run

    def __call__(self, *args: Any, **options: Any) -> Any:
        if _problem is None:
            enter_compiled(self.number)
            try:
                return self.run(self.twin, *args, **options)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # compilers raise what they like; what is wrong comes again
                _give_up(getattr(error, "inner_exception", error))
        return self.plain(*args, **options)


def decoder_layers(body: Any) -> list[nn.Module]:
    """The layers that follow one another in a model, in their order.

    They are the elements of the list with the most parameters whose elements have one attention
    each; there is none where layers share their attention or have two.

    Args:
        body: the model, or its method that runs the layers.
    """
    model: nn.Module = getattr(body, "__self__", body)
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    stacks = [stack for stack in stacks if all(_number(layer) >= 0 for layer in stack)]
    sizes = [sum(p.numel() for p in stack.parameters()) for stack in stacks]
    return list(stacks[sizes.index(max(sizes))]) if stacks else []


def _number(layer: nn.Module) -> int:
    """`layer_idx` of its attention; -1 where there is not one such number."""
    found: set[Any] = {getattr(module, "layer_idx", None) for module in layer.modules()} - {None}
    return found.pop() if len(found) == 1 else -1


def _compiled(body: Any, backend: Any) -> list[tuple[Any, _CompiledLayer]]:
    """Layers and what stands in for them; none if they cannot be traced."""
    try:
        run = _compiler(backend)
        return [(layer, _CompiledLayer(layer, run)) for layer in decoder_layers(body)]
    except CannotTrace as error:
        _give_up(error)
        return []


@functools.cache
def _compiler(backend: Any) -> Callable[..., Any]:
    # In one piece or not at all: pieces would be compiled apart, a few for each layer.
    return torch.compile(_call, backend=backend, fullgraph=True, dynamic=False)


def _call(layer: nn.Module, *args: Any, **options: Any) -> Any:
    return layer(*args, **options)


def _room_for_codes() -> contextlib.AbstractContextManager[Any]:
    import torch._dynamo as dynamo  # takes seconds to import

    limits = {"recompile_limit": MAX_CODES, "accumulated_recompile_limit": MAX_CODES}
    patch: contextlib.AbstractContextManager[Any] = dynamo.config.patch(limits)
    return patch


def backend_on(device: torch.device) -> Any:
    """What layers on a device are compiled with; None if they are not."""
    backend = None if _problem is not None else _backend.get()
    if backend == "auto":
        fit = device.type == "cuda" and importlib.util.find_spec("triton")
        backend = "inductor" if fit else None
    return backend


def _chosen(body: Any, rows: int) -> Any:
    """The backend for calls of so many rows; None if they are not to be compiled."""
    model: nn.Module = getattr(body, "__self__", body)
    backend = backend_on(next(model.parameters()).device)
    if backend is None:
        return None
    if rows not in _rows_met and len(_rows_met) >= MAX_ROW_COUNTS:
        log.debug(
            "engine: layers are not compiled for %d rows, after %d others", rows, len(_rows_met)
        )
        return None
    _rows_met.add(rows)
    return backend


def _give_up(error: BaseException) -> None:
    global _problem
    _problem = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")
    log.info("engine: layers are not compiled (%s)", _problem)
