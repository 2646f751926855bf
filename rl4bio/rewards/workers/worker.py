"""A process that scores, as we see it: requests, answers under a deadline, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from typing import Any

from rl4bio.rewards.external import watcher
from rl4bio.rewards.workers import frames

START_S = 300.0
"""For the imports and files of a reward."""
FORK_S = 30.0
"""For a worker, from a server that has them all."""


class Lost(Exception):
    """A worker has hung or ended; the message says how."""


class Worker:
    """A process that scores one request at a time."""

    def __init__(self, control: socket.socket, lock: threading.Lock, timeout_s: float) -> None:
        """Have the server fork one; the caller holds the lock of the control socket."""
        self.control, self.lock, self.timeout_s = control, lock, timeout_s
        self.connection, theirs = socket.socketpair()
        deadline = time.monotonic() + FORK_S
        with theirs:
            socket.send_fds(control, [b"F"], [theirs.fileno()])
        self.pid = int(json.loads(frames.receive(control, deadline))["worker"])

    def ask(self, request: bytes, count: int) -> Any:
        """The answers to a request: one a row, or one for all; the last has the raw values.

        Raises:
            Lost: no answer in time, or none any more.
        """
        try:
            frames.send(self.connection, request, time.monotonic() + self.timeout_s)
            for _ in range(count + 1):
                data = frames.receive(self.connection, time.monotonic() + self.timeout_s)
                answer = json.loads(data)
                yield answer
                if "raw" in answer or ("error" in answer and "row" not in answer):
                    return
        except TimeoutError:
            raise Lost(
                "time-out", f"gave no answer within {self.timeout_s:g} s and was ended"
            ) from None
        except (frames.Gone, ValueError):
            raise Lost("crash", f"lost its process, which {self._how()}") from None

    def _how(self) -> str:
        try:
            with self.lock:
                self.control.sendall(b"S" + self.pid.to_bytes(8, "big"))
                answer = frames.receive(self.control, time.monotonic() + 10)
            return str(json.loads(answer)["how"])
        except (frames.Gone, OSError, ValueError, TimeoutError):
            return "ended"

    def end(self) -> None:
        """Kill the process and all that it has started."""
        watcher.signal_group(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        self.connection.close()
