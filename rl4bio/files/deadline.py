"""A limit for calls of libraries that may wait for a server without one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

HUB_S = 60.0
"""For what the Hub is asked before anything is downloaded; a download has its limit a read."""


def within(seconds: float, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The value of a call that may hang; a thread of its own is left behind where it does.

    Raises:
        TimeoutError: it took longer; or whatever it raises.
    """
    results: queue.SimpleQueue[tuple[T] | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(*arguments, **named),))
        except BaseException as error:  # raised where it is waited for
            results.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if isinstance(result, BaseException):
        raise result
    return result[0]
