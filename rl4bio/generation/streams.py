"""Where what is generated goes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rl4bio.errors import ConfigError
from rl4bio.runs.claim import check_target
from rl4bio.storage.files import storage_errors


def check_output(output: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name whose ending says another format, and a place that takes no file."""
    if output == "-":
        return
    path = Path(output)
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"--output: {output} ends in none of {', '.join(suffixes)}")
    check_target(path)


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
