"""Tests of what happens to child processes when their parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio import signals
from rl4bio.rewards.external import watcher

PARENT = """
import sys
from rl4bio.rewards.external.process import LineProcess
process = LineProcess(sys.argv[2:])
process.exchange(b"", lambda line: not print(line.decode(), flush=True), timeout_s=60, last=False)
if sys.argv[1] == "wait":
    sys.stdin.read()
"""
STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
print(os.getpid(), child.pid, flush=True)
time.sleep(1000)
"""
ROOT = Path(__file__).resolve().parents[3]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_stays_where_a_run_is_ended() -> None:
    assert watcher.ENDING == signals.ENDING


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_parent(
    program: Callable[[str], list[str]], number: signal.Signals | None
) -> None:
    """At its end, and after signals that leave it no time to do anything."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "wait" if number else "end", *program(STUBBORN)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    if number is not None:
        assert all(map(alive, pids))
        os.kill(parent.pid, number)
    parent.communicate()
    deadline = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))
