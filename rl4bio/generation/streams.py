"""Where what is generated goes, and lines that say how far it is."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rl4bio.errors import ConfigError
from rl4bio.storage.files import storage_errors

log = logging.getLogger("rl4bio")
PROGRESS_S = 5.0
"""Seconds between two lines that say how far it is."""


def check_output(output: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name whose ending says another format."""
    if output != "-" and Path(output).suffix.lower() not in suffixes:
        raise ConfigError(f"--output: {output} ends in none of {', '.join(suffixes)}")


@contextlib.contextmanager
def opened_output(output: str) -> Iterator[TextIO]:
    """Standard output for -, else the file, made anew.

    Raises:
        StorageError: the file cannot be written.
    """
    if output == "-":
        yield sys.stdout
        return
    path = Path(output)
    with storage_errors(path), path.open("w", encoding="utf-8", newline="") as stream:
        yield stream


class Progress:
    """Lines on stderr that say how far it is, at most one in PROGRESS_S seconds."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.started = self.shown = time.monotonic()

    def at(self, done: int) -> None:
        now = time.monotonic()
        if now - self.shown >= PROGRESS_S and done < self.total:
            self.shown = now
            log.info("%d of %d %s", done, self.total, self.what)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
