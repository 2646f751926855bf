"""A child process that is spoken to in lines, and can neither hang its caller nor outlive it.

It leads a session, so that it is killed with all processes that it started. Its pipes are not
inherited by other children, and a forked rank closes its copies.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Sequence
from typing import IO

from rl4bio.rewards.external import watcher
from rl4bio.rewards.external.failures import ExchangeError

GRACE_S = 1.0
"""Between SIGTERM and SIGKILL, and for a process to exit that has said all."""
MAX_LINE_BYTES = 1 << 20
MAX_OUTPUT_BYTES = 16 << 20
"""Of stdout, in one exchange."""

_CHUNK_BYTES = 1 << 16
_KEPT_ERROR_BYTES = 1 << 13
_POLL_S = 0.1
"""How often a silent process is looked at: one that it started may hold its pipes open."""


class LineProcess:
    """A command that runs, with its three pipes.

    Not for two threads at once, but `kill` may come from another one.

    Args:
        command: program and arguments; no shell reads them.

    Raises:
        ExchangeError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._closed = True  # should the next line raise
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:  # ValueError: a null byte in an argument
            reason = f"{command[0]} cannot be started ({getattr(error, 'strerror', error)})"
            raise ExchangeError("crash", reason) from None
        self._closed = False
        self._stdin, self._stdout, self._stderr = self._pipes()
        self._partial = b""
        self._errors = b""
        watcher.watch(self._process.pid)
        _LIVE.add(self)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        return process.stdin, process.stdout, process.stderr

    @property
    def running(self) -> bool:
        """Whether it is there still."""
        return not self._closed and self._process.poll() is None

    def exchange(
        self, data: bytes, on_line: Callable[[bytes], bool], *, timeout_s: float, last: bool
    ) -> None:
        """Write to stdin and hand over each line of stdout, until all is said.

        Args:
            data: whole lines.
            on_line: takes a line without its end, True = nothing more is expected.
            timeout_s: from now until then.
            last: close stdin behind the data and read on until the process closes stdout.

        Raises:
            ExchangeError: time-out, an end before all was said, or too much output. What was said
                before has been handed over.
        """
        deadline = time.monotonic() + timeout_s
        complete, ended, received = False, False, 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            while not ended and not (complete and not last and not data):
                if (left_s := deadline - time.monotonic()) <= 0:
                    break
                events = [key.fileobj for key, _ in selector.select(min(left_s, _POLL_S))]
                ended = not events and self._process.poll() is not None
                if self._stdin in events and not (data := self._write(data)):
                    selector.unregister(self._stdin)
                    if last:
                        self._stdin.close()
                if self._stderr in events and not self._read_errors():
                    selector.unregister(self._stderr)
                if self._stdout in events:
                    chunk = self._read(self._stdout)
                    received, ended = received + len(chunk or b""), chunk == b""
                    if self._hand_over(chunk, on_line, received) and not complete:
                        complete = True
                        deadline = min(deadline, time.monotonic() + GRACE_S)
        if not complete and ended:
            raise self._ending()
        if not complete:
            words = self._last_words()
            raise ExchangeError("time-out", f"no answer within {timeout_s:g} s{words}")

    def _write(self, data: bytes) -> bytes:
        """What is left to write; nothing where the process does not read any more."""
        try:
            return data[os.write(self._stdin.fileno(), data[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            return b""

    @staticmethod
    def _read(pipe: IO[bytes]) -> bytes | None:
        """b"" at the end of the pipe, None where there is nothing yet."""
        try:
            return os.read(pipe.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return None

    def _read_errors(self) -> bool:
        """Take from stderr what it has; False at its end."""
        chunk = self._read(self._stderr)
        self._errors = (self._errors + (chunk or b""))[-_KEPT_ERROR_BYTES:]
        return chunk != b""

    def _hand_over(
        self, chunk: bytes | None, on_line: Callable[[bytes], bool], received: int
    ) -> bool:
        """Give the whole lines to on_line, at the end the rest too; whether it ever said True."""
        if chunk is None:
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if not chunk and self._partial:
            lines, self._partial = [*lines, self._partial], b""
        complete = False
        for line in lines:
            complete = on_line(line) or complete
        if received > MAX_OUTPUT_BYTES:
            reason = f"more than {MAX_OUTPUT_BYTES >> 20} MiB of output for one batch"
            raise ExchangeError("crash", f"{reason}; write logs to stderr, or lower batch_size")
        if len(self._partial) > MAX_LINE_BYTES:
            raise ExchangeError("crash", f"a line of more than {MAX_LINE_BYTES >> 20} MiB")
        return complete

    def _ending(self) -> ExchangeError:
        """Why the output ended too soon: the exit status and the last line of stderr."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        code = self._process.returncode
        if code is None:
            how = "closed its output and went on running"
        elif code < 0:
            how = f"was killed by signal {-code}"
        else:
            how = f"exited with {code}"
        return ExchangeError("no answer" if code == 0 else "crash", how + self._last_words())

    def _last_words(self) -> str:
        """The last line of stderr, for the end of a message; "" where there is none."""
        for _ in range(_KEPT_ERROR_BYTES):  # who writes without end is not read without end
            if not (chunk := self._read(self._stderr)):
                break
            self._errors = (self._errors + chunk)[-_KEPT_ERROR_BYTES:]
        lines = [line.strip() for line in self._errors.decode("utf-8", "replace").split("\n")]
        found = [line for line in lines if line]
        return f"; stderr ends: {found[-1]}" if found else ""

    def kill(self) -> None:
        """End the process and all that it started, within GRACE_S; safe in any thread."""
        group = self._process.pid
        if self._process.poll() is None and watcher.signal_group(group, signal.SIGTERM):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        watcher.signal_group(group, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel
            self._process.wait(GRACE_S)

    def close(self, *, gently: bool = False) -> None:
        """Kill what still runs and close the pipes.

        Args:
            gently: close stdin first and give the process GRACE_S to exit by itself.
        """
        if self._closed:
            return
        self._closed = True
        _LIVE.discard(self)
        with contextlib.suppress(OSError):
            self._stdin.close()
        if gently:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        self.kill()
        watcher.unwatch(self._process.pid)
        self._stdout.close()
        self._stderr.close()

    def __del__(self) -> None:
        if not self._closed:
            watcher.signal_group(self._process.pid, signal.SIGKILL)
            self.close()

    def _forget(self) -> None:
        """In a forked child: neither the process nor its pipes are ours."""
        self._closed = True
        self._process.returncode = 0
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()


_LIVE: weakref.WeakSet[LineProcess] = weakref.WeakSet()


def _forget_all() -> None:
    for process in list(_LIVE):
        process._forget()
    _LIVE.clear()


os.register_at_fork(after_in_child=_forget_all)
