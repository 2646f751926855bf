"""Ends the processes that a guest has started, also those that left its process group.

All of them inherit a variable in their environment, which the system shows (on Linux) for each
process as it was begun.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection

VARIABLE = "RL4BIO_GUEST"


def end_orphans(token: str, keep: Collection[int] = (), spare: int = 0) -> int:
    """Kill the processes with this token that do not descend from one that is kept.

    Args:
        token: value of VARIABLE.
        keep: processes that stay, with what they started.
        spare: a process that stays alone.

    Returns:
        How many were killed.
    """
    mark = f"{VARIABLE}={token}".encode()
    killed = 0
    for pid in _processes():
        if pid != spare and pid not in keep and _marked(pid, mark) and not _descends(pid, keep):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:  # another system
        return []


def _marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return mark in stream.read().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False


def _descends(pid: int, keep: Collection[int]) -> bool:
    """Whether a process that is kept is among the parents of this one."""
    seen = 0
    while pid > 1 and seen < 100:
        try:
            with open(f"/proc/{pid}/stat", "rb") as stream:
                pid = int(stream.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
        if pid in keep:
            return True
        seen += 1
    return False
