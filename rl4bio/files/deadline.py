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


def probe_model(repo_id: str) -> None:
    """Ask the Hub for a model that is not in the local cache: one request, without the retries of
    a download.

    Raises:
        TimeoutError: it has not answered within HUB_S.
        Exception: what its client raises: offline, unknown, gated, unreachable.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repo_id, "config.json"), str):
        within(HUB_S, HfApi().auth_check, repo_id)


def answers_for(dataset_id: str) -> bool:
    """Whether the Hub says anything about a data set within HUB_S, be it that there is none."""
    from huggingface_hub import HfApi

    try:
        within(HUB_S, HfApi().auth_check, dataset_id, repo_type="dataset")
    except Exception as error:  # the client raises its own, requests' and httpx's errors
        return not any("Timeout" in cls.__name__ for cls in type(error).__mro__)
    return True
