"""A step recorded as a CUDA graph: launched in one go, without the host between its kernels.

Where a step cannot be recorded it is launched kernel by kernel, which is right, but slow; the log
says why, and recording is not tried again in this process. Out of memory is no such reason.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("rl4bio")

_problem: str | None = None
"""Why nothing is recorded any more."""


def can_record(device: torch.device) -> bool:
    """Whether steps on a device may be recorded."""
    return device.type == "cuda" and _problem is None


def recorded(step: Callable[[], None], state: Sequence[Tensor], pool: Any = None) -> Any:
    """A graph of the step, with `replay` and `pool`; None where it cannot be recorded.

    Args:
        step: run once to warm up and once to be recorded, with the same tensors each time.
        state: what the step changes and must find again: put back at the end.
        pool: memory of a graph that is replayed before or after this one, to be shared.

    Raises:
        torch.OutOfMemoryError: as the step itself would.
    """
    global _problem
    kept = [tensor.clone() for tensor in state]
    before = torch.cuda.current_stream()
    try:
        return _record(step, pool)
    except RuntimeError as error:
        causes = _causes(error)
        for cause in causes:
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
        _problem = f"{type(causes[-1]).__name__}: {str(causes[-1]).strip()}".splitlines()[0]
        log.info("engine: no CUDA graph (%s); steps are launched one by one", _problem)
        return None
    finally:
        torch.cuda.set_stream(before)  # a capture that fails leaves its own in force
        for tensor, value in zip(state, kept, strict=True):
            tensor.copy_(value)


def _record(step: Callable[[], None], pool: Any) -> Any:
    stream = _side_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries allocate their workspaces in the first call
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):
        step()
    return graph


@functools.cache
def _side_stream(device: int) -> Any:
    """One for the process: a library's workspace stays with every stream that it has seen."""
    return torch.cuda.Stream(device)


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what it was raised on top of, the first of all last.

    What goes wrong inside a capture makes the end of the capture fail as well.
    """
    found = [error]
    while (below := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(below)
    return found
