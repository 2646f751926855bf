"""Scores that were paid for once, in a file of JSON lines that only grows.

    {"engine": "5f0c...", "smiles": "CCO", "score": -7.2}

Any number of processes may append to a file, and any number of engines share it. A line that a
crash or a full disk cut off is skipped, and what is appended behind it begins on a new line.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl4bio.errors import ConfigError, DataError
from rl4bio.files.text_files import endless

log = logging.getLogger("rl4bio")


def engine_key(*identity: Any) -> str:
    """A hash of what makes two engines different, from plain values; equal in every process."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class ScoreCache:
    """Scores of one engine by canonical SMILES, in memory and optionally on disk.

    Args:
        path: of the file; it need not exist, its folder must. None keeps scores in memory alone.
        engine: as `engine_key` gives it; lines of other engines are left alone.
    """

    def __init__(self, path: str | None, engine: str) -> None:
        self.path = None if path is None else Path(path)
        self.engine = engine
        self.scores: dict[str, float] = {}
        self._offset = 0

    def check(self) -> None:
        """Raise a ConfigError where the file could not be written."""
        if self.path is None:
            return
        folder = self.path.parent
        if not folder.is_dir():
            raise ConfigError(f"cache: no folder {folder}; make it, or choose another file")
        place = self.path if self.path.exists() else folder
        if self.path.is_dir() or endless(self.path) or not os.access(place, os.W_OK):
            raise ConfigError(f"cache: {self.path} cannot be written; choose another file")

    def refresh(self) -> None:
        """Read what has been appended to the file since the last time, by whomever.

        Raises:
            DataError: the file cannot be read.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"{self.path}: cannot be read ({reason}); remove it, or name another "
                "in option cache"
            ) from None
        whole = data.rfind(b"\n") + 1  # the rest is being written, or torn
        self._offset += whole
        spoilt = sum(not self._take(line) for line in data[:whole].split(b"\n") if line)
        if spoilt:
            log.warning("%s: %d lines hold no score and are skipped", self.path, spoilt)

    def _take(self, line: bytes) -> bool:
        """Keep the score of a line if it is ours; whether it is a line of a cache."""
        try:
            row = json.loads(line)
            engine, smiles, score = row["engine"], row["smiles"], row["score"]
            ours = isinstance(smiles, str) and math.isfinite(score)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return False
        if ours and engine == self.engine:
            self.scores[smiles] = float(score)
        return ours

    def add(self, scores: Mapping[str, float]) -> None:
        """Keep some scores; a disk that is full costs the file, not the run."""
        self.scores |= scores
        if self.path is None or not scores:
            return
        rows = (
            {"engine": self.engine, "smiles": smiles, "score": score}
            for smiles, score in scores.items()
        )
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        try:
            _append(self.path, data)
        except OSError as error:
            reason = error.strerror or error
            log.warning("%s: cannot be written (%s); scores stay in memory", self.path, reason)
            self.path = None


def _append(path: Path, lines: bytes) -> None:
    """Append whole lines in one write, which lands in one piece beside those of other processes.

    The lock keeps a line that another process is still writing from being taken for a torn one.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: a blank line at worst
            fcntl.flock(handle, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        while lines:
            lines = lines[os.write(handle, lines) :]
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)
