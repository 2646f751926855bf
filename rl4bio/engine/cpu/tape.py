"""The operators of a decoding step, recorded once and called again without the Python around them.

On a CPU what a CUDA graph is on a GPU: most of a step of few rows goes into modules, wrappers and
checks. While a tape records, every operator's inputs and outputs are noted; they become one
straight function of operator calls, in which tensors of the step are local variables and all others
(weights, key-value stores, the step's inputs) are held. What changes from step to step must lie in
tensors that are written in place, or in `live` calls. Numbers are those of the recorded code.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_recording: Tape | None = None


class CannotRecord(RuntimeError):
    """The step looks at a value, or at a shape that depends on one."""


def live(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """Call the function; a tape that records calls it at this point of every replay as well.

    Args:
        function: may do other things each time; what it returns must be of the same type, shape and
            strides.
        args: its arguments; tensors among them hold the replayed step's values then.
    """
    return function(*args) if _recording is None else _recording.note_live(function, args)


class Tape(TorchDispatchMode):
    """What a function of no arguments does.

    Args:
        function: run once, and recorded. It returns tensors.

    Raises:
        CannotRecord: see there; the function has then run in part.
    """

    def __init__(self, function: Callable[[], tuple[Tensor, ...]]) -> None:
        TorchDispatchMode.__init__(self)
        self._calls: list[_Call] = []
        self._paused = False
        self.result = self._record(function)
        """What the function returned."""
        self._run = _program(self._calls, self.result)
        self._calls = []

    def replay(self) -> tuple[Tensor, ...]:
        """Do it again: what the function would return."""
        with no_autocast(self.result[0].device.type):  # casts are on the tape
            return self._run()

    def _record(self, function: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        global _recording
        _recording = self
        try:
            with self:
                return function()
        finally:
            _recording = None

    def note_live(self, function: Callable[..., Tensor], args: Sequence[Any]) -> Tensor:
        """See `live`."""
        self._paused = True
        try:
            result = function(*args)
        finally:
            self._paused = False
        self._calls.append(_Call(function, args, {}, result))
        return result

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        _refuse(func, args)
        result = func(*args, **kwargs)
        self._calls.append(_Call(func, args, kwargs, result))
        return result


class _Call:
    """One operator, or the function of a `live` call, as it was called."""

    def __init__(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any
    ) -> None:
        self.function, self.args, self.kwargs, self.result = function, args, kwargs, result
        self.inputs = list(_tensors([*args, *kwargs.values()]))
        self.outputs = list(_tensors([result]))

    @property
    def is_live(self) -> bool:
        return not isinstance(self.function, OpOverload)

    @functools.cached_property
    def is_view(self) -> bool:
        """Whether it makes nothing, but looks at its first input in another shape."""
        if self.is_live or not self.function.is_view:  # type: ignore[attr-defined]
            return False
        source = self.inputs[0]
        return all(
            one.dtype == source.dtype and one.layout == torch.strided and not one.is_complex()
            for one in [source, *self.outputs]
        )

    @property
    def writes(self) -> bool:
        """Whether it changes a tensor that it is given, and returns that."""
        return not self.is_live and self.function._schema.is_mutable  # type: ignore[attr-defined]


def _sources(calls: Sequence[_Call]) -> dict[int, Tensor]:
    """What each view looks at, by the view's id, through views of views."""
    found: dict[int, Tensor] = {}
    for call in calls:
        if call.is_view:
            source = found.get(id(call.inputs[0]), call.inputs[0])
            found.update(dict.fromkeys(map(id, call.outputs), source))
    return found


def _wanted(
    calls: Sequence[_Call], result: Sequence[Tensor], sources: dict[int, Tensor]
) -> list[_Call]:
    """Live calls, calls that write in place, and those whose outputs a wanted call reads.

    No views: where one is read, its source is.
    """
    read = {id(sources.get(id(one), one)) for one in result}
    found: list[_Call] = []
    for call in reversed(calls):
        if call.is_view:
            continue
        if call.is_live or call.writes or not read.isdisjoint(map(id, call.outputs)):
            found.append(call)
            read.update(id(sources.get(id(one), one)) for one in call.inputs)
    return found[::-1]


def _program(
    calls: Sequence[_Call], result: tuple[Tensor, ...]
) -> Callable[[], tuple[Tensor, ...]]:
    """The wanted calls in their order, as one function."""
    made = (_memory(c.outputs) - _memory(c.inputs) for c in calls if not c.writes)
    sources = _sources(calls)
    text = _Text(made=set[int]().union(*made), sources=sources)
    for call in _wanted(calls, result, sources):
        text.add(call)
    text.reach(result)
    text.lines.append(f"return {text.of(result)}")
    for name, line in text.last_use.items():  # what is freed early stays in the processor's cache
        if line < len(text.lines) - 1:
            text.lines[line] += f"; del {name}"
    exec(_compiled("\n ".join(["def run():", *text.lines])), text.held)
    run: Callable[[], tuple[Tensor, ...]] = text.held.pop("run")  # its globals must not hold it
    return run


@functools.lru_cache(maxsize=64)  # a model's steps look alike in each rollout
def _compiled(source: str) -> CodeType:
    return compile(source, "<tape>", "exec")


class _Text:
    """Source text of calls, and the objects that it names.

    Args:
        made: memory of the tensors that recorded operators have made.
        sources: of views, by id.
    """

    def __init__(self, *, made: set[int], sources: dict[int, Tensor]) -> None:
        self.lines: list[str] = []
        self.held: dict[str, Any] = {}
        """What is not made by the calls."""
        self.last_use: dict[str, int] = {}
        """Line in which each local variable is used last."""
        self._names: dict[int, str] = {}
        """Of local variables, by the recorded tensor's id."""
        self._made, self._sources = made, sources

    def add(self, call: _Call) -> None:
        """One line for a call; what it returns gets a name, unless that is what it wrote to."""
        self.reach(call.inputs)
        function = call.function._op if isinstance(call.function, OpOverload) else call.function
        given = [self.of(value) for value in call.args]
        given += [f"{key}={self.of(value)}" for key, value in call.kwargs.items()]
        line = f"{self._hold(function)}({', '.join(given)})"
        if not call.writes:
            line = f"{self._name(call.result)} = {line}"
        self.lines.append(line)

    def reach(self, tensors: Iterable[Tensor]) -> None:
        """A line for each that is a view of a local variable and has no name yet.

        One line, whatever views of views it came from: as_strided takes as long as one of them.
        """
        for one in tensors:
            source = self._names.get(id(self._sources.get(id(one))))
            if source is not None and id(one) not in self._names:
                size, stride, offset = tuple(one.shape), one.stride(), one.storage_offset()
                self.last_use[source] = len(self.lines)
                view = f"{self._hold(torch.as_strided)}({source}, {size}, {stride}, {offset})"
                self.lines.append(f"{self._name(one)} = {view}")

    def of(self, value: Any) -> str:
        """An argument; see `reach` for views.

        Raises:
            CannotRecord: a tensor of the step that no recorded operator has returned.
        """
        if isinstance(value, list):
            return f"[{', '.join(map(self.of, value))}]"
        if isinstance(value, tuple):
            return f"({''.join(f'{self.of(one)}, ' for one in value)})"
        if isinstance(value, Tensor):
            name = self._names.get(id(value))
            if name is not None:
                self.last_use[name] = len(self.lines)
                return name
            if self._made & _memory([value]):
                raise CannotRecord("it makes tensors past the operators")
        return self._hold(value)

    def _name(self, result: Any) -> str:
        if not isinstance(result, Tensor):
            return f"[{', '.join(map(self._name, result))}]"
        name = self._names[id(result)] = f"t{len(self._names)}"
        self.last_use[name] = len(self.lines)
        return name

    def _hold(self, value: Any) -> str:
        name = f"c{len(self.held)}"
        self.held[name] = value
        return name


def no_autocast(device: str) -> contextlib.AbstractContextManager[object]:
    """Autocast off inside; where it is off already, to enter it would cost 25 us."""
    on = torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else contextlib.nullcontext()


def _refuse(func: OpOverload, args: Sequence[Any]) -> None:
    if torch.Tag.data_dependent_output in func.tags:
        raise CannotRecord(f"{func} reads a value")
    if torch.Tag.inplace_view in func.tags:
        raise CannotRecord(f"{func} changes the shape of a tensor in place")
    if torch.Tag.dynamic_output_shape in func.tags:
        by_number = func is torch.ops.aten.index.Tensor and not any(
            t.dtype in (torch.bool, torch.uint8) for t in _tensors(args[1:])
        )
        if not by_number:
            raise CannotRecord(f"the shape that {func} returns depends on values")


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _memory(tensors: Iterable[Tensor]) -> set[int]:
    """Addresses; packed matrices give none, and never change."""
    return {t.untyped_storage().data_ptr() for t in tensors if not t.is_mkldnn} - {0}
