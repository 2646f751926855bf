"""The memory of this process and its machine: how it is held, and how much there is.

A training step makes and frees tensors of ever other sizes. Left to themselves, three caches make
the process grow with them, or pay for it:

- glibc maps tensors above a threshold from the kernel and unmaps them when they are freed; smaller
  ones live in the heap. To touch fresh pages costs 0.2 to 1 ms a MiB, several times what an
  elementwise kernel takes; but large tensors in the heap leave holes that no later one fits, and a
  run of Gemma 3 270M held 8.6 GiB in its second step for 5.4 with the threshold below. It is
  settled, where glibc would let it wander, and `Level` gives free pages of the heap back when the
  process grows.
- oneDNN keeps up to 1,024 compiled kernels, and torch's layer above it as many again, each for one
  shape. Steps of ever other lengths would fill them with what never comes back. A step of a model
  needs a few dozen at once.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KERNELS = 128
"""Compiled kernels that are kept: a decoding step has up to a dozen shapes, a prompt's pass as
many, and a few numbers of rows come again in each rollout."""
CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Read once, when the first such kernel is made."""
MAPPED_FROM = 2**25
"""Bytes from which on an allocation is mapped for itself: the heap must not have holes so large."""
TRIMMED_FROM = 2**26
"""Free bytes at the heap's end from which on they go back at once."""
GROWTH = 2**25
"""Bytes, or a twentieth of what is held if that is more, by which a process may grow."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def settle_memory() -> None:
    """Bound the caches and tell the allocator; before torch is first used. What the user has set in
    the environment stays."""
    for name in CAPACITIES:
        os.environ.setdefault(name, str(KERNELS))
    libc = _glibc()
    if libc is None or {"MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & set(os.environ):
        return
    libc.mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
    libc.mallopt(_M_TRIM_THRESHOLD, TRIMMED_FROM)


def release_memory() -> None:
    """Give the heap's free pages back to the system; nothing on another C library than glibc."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


class Level:
    """What a process holds after a step, kept from creeping up."""

    def __init__(self) -> None:
        self.first: int | None = None
        """Bytes after the first step, in which everything has been made once."""

    def hold(self) -> None:
        """After a step: give free pages back if the process has grown since the first one.

        Not each time: a step would touch all of its memory for the first time again.
        """
        now = resident_bytes()
        if now is None:
            return
        if self.first is None:
            self.first = now
        elif now > self.first + max(GROWTH, self.first // 20):
            release_memory()


@functools.cache
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None


def resident_bytes(*, peak: bool = False) -> int | None:
    """Memory that this process holds, or has held at most; None where the system does not say."""
    return _table(Path("/proc/self/status")).get("VmHWM" if peak else "VmRSS")


def mapped_bytes(suffix: str) -> tuple[int, int]:
    """What this process has mapped of files whose names end so, and how much of it is resident.

    Weights that are read from a file in their own type stay mapped, and a page of them is resident
    from its first use on. (0, 0) where the system does not say.
    """
    found = {"Size:": 0, "Rss:": 0}
    of_file = False
    for line in _text(Path("/proc/self/smaps")).splitlines():
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):  # a mapping: its addresses, rights, place and file
            of_file = len(rest) == 5 and rest[-1].endswith(suffix)
        elif of_file and name in found:
            found[name] += int(rest[0]) * 1024
    return found["Size:"], found["Rss:"]


def available_bytes() -> int | None:
    """Memory that processes can still take before the system ends one of them, and this one has.

    The machine's own figure, or what a container's limit leaves where that is less. None where the
    system does not say.
    """
    free = _table(Path("/proc/meminfo")).get("MemAvailable")
    groups = Path("/proc/self/cgroup")
    room = [limit - used for limit, used in limits(groups, Path("/sys/fs/cgroup"))]
    known = [size for size in (free, *room) if size is not None]
    return max(0, min(known)) if known else None


def limits(groups: Path, root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group around a process that has a limit, version 2 or 1.

    Args:
        groups: the process's groups, as /proc/self/cgroup names them.
        root: where they are mounted; in a container the group's own folder may be the root.
    """
    for line in _text(groups).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base, names = root, ("memory.max", "memory.current", "memory.stat")
        elif "memory" in controllers.split(","):
            base = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
        else:
            continue
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group != base and base not in group.parents:
                break
            limit, used = (_number(group / name) for name in names[:2])
            if limit is not None and used is not None:
                # Files that can be read again count as used, but are given up first.
                cached = _table(group / names[2], unit=1).get("inactive_file", 0)
                yield limit, used - cached


def _text(path: Path) -> str:
    """What a file of the system says; "" where it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """A limit or use; None where there is none. Version 1 writes no limit as nearly 2^63."""
    text = _text(path).strip()
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _table(path: Path, *, unit: int = 1024) -> dict[str, int]:
    """Bytes by name, from lines like "VmRSS:   1234 kB" or "inactive_file 5678"."""
    rows = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) * unit for row in rows if len(row) > 1 and row[1].isdigit()}
