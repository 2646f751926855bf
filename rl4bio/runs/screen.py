"""A run goes on when nobody reads any more what it prints."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

log = logging.getLogger("rl4bio")


class LastingStream:
    """A stream whose other end may go: a terminal that is closed, a `tee` that ends, a full disk.

    From the first write that fails on, its descriptor leads nowhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or count as written what goes nowhere."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Flush, while there is an other end."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        log.info("%s cannot be written any more (%s); the run goes on", self._stream.name, error)


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Have stdout and stderr outlive whoever reads them."""
    before = sys.stdout, sys.stderr
    lasting: Any = [LastingStream(stream) for stream in before]
    sys.stdout, sys.stderr = lasting
    try:
        yield
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = before
