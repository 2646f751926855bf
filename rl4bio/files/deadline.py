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


def probe_model(repo_id: str) -> None:
    """Ask the Hub for a model that is not in the local cache: one request, without the retries of
    a download.

    Raises:
        TimeoutError: it has not answered within HUB_S.
        Exception: what its client raises: offline, unknown, gated, unreachable.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repo_id, "config.json"), str):
        within(HUB_S, lambda: HfApi().auth_check(repo_id))


def answers_for(dataset_id: str) -> bool:
    """Whether the Hub says anything about a data set within HUB_S, be it that there is none."""
    from huggingface_hub import HfApi

    try:
        within(HUB_S, lambda: HfApi().auth_check(dataset_id, repo_type="dataset"))
    except Exception as error:  # the client raises its own, requests' and httpx's errors
        return not any("Timeout" in cls.__name__ for cls in type(error).__mro__)
    return True
