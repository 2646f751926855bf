"""A limit for calls of libraries that may wait for a server without one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HUB_S = 60.0
"""For what the Hub is asked before anything is downloaded; a download has its limit a read."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, in a thread that is left behind where it takes too long.

    Raises:
        TimeoutError: it has not come in time.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return found[0]
