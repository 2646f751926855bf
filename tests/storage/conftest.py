"""A child process whose files may not grow, since a limit in this one would hit pytest's output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def with_small_files() -> Callable[[int, str], str]:
    """Runs code where no file may pass some bytes, so that writes fail as on a full disk.

    Gives what the code wrote to stderr.
    """

    def run(limit: int, code: str) -> str:
        head = (
            "import resource\n"
            "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, hard))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", head + code], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1, done.stderr
        return done.stderr

    return run
