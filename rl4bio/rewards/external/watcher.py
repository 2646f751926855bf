"""Child processes die with their parent: at exit, on any signal, out of memory.

A small process of its own reads from a pipe which process groups live. The pipe ends when the
parent does, whatever ended it; then what is left is terminated and, after GRACE_S, killed. A forked
rank closes the pipe that it inherited and has a watcher of its own.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 1.0
"""Between SIGTERM and SIGKILL."""

ENDING = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""Those of rl4bio/signals.py, for a process that cannot import it."""

_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def watch(group: int, token: str = "") -> None:
    """Have a process group killed when this process ends; and all that inherited a token."""
    _tell(f"+{group} {token}\n")


def unwatch(group: int) -> None:
    """Forget a process group, which has ended."""
    _tell(f"-{group}\n")


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False where no process of it is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _tell(message: str) -> None:
    global _process
    with _lock:
        if _process is None:
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C and a scheduler's signals are for the others
                bufsize=0,
            )
        assert _process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # someone killed the watcher
            _process.stdin.write(message.encode())


def _forget() -> None:
    """In a forked child: the watcher is the parent's."""
    global _lock, _process
    _lock = threading.Lock()
    if _process is not None and _process.stdin is not None:
        _process.stdin.close()
        _process.returncode = 0  # not ours to wait for
    _process = None


def main() -> None:
    """The watching side: read groups until the pipe ends, then end those that are left."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    tokens: set[str] = set()
    for line in sys.stdin.buffer:
        change = groups.add if line.startswith(b"+") else groups.discard
        group, _, token = line[1:].decode().strip().partition(" ")
        change(int(group))
        if token:
            tokens.add(token)
    left = [group for group in groups if signal_group(group, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [group for group in left if signal_group(group, 0)]
    for group in left:
        signal_group(group, signal.SIGKILL)
    if tokens:  # the package cannot be imported here
        place = os.path.join(os.path.dirname(os.path.dirname(__file__)), "workers", "orphans.py")
        end_orphans = runpy.run_path(place)["end_orphans"]
        for token in tokens:
            end_orphans(token)


if __name__ == "__main__":
    main()
else:
    os.register_at_fork(after_in_child=_forget)
