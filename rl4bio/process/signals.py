"""The signals that end a command, and the one owner of their handlers.

The first signal counts: its number makes the exit code. While a step trains, it waits for the
step's edge; elsewhere it raises `Terminated` (Ctrl-C `KeyboardInterrupt`). Repeats within REPEAT_S,
as schedulers and launchers send them, are one signal. A later one ends what is blocked, and so does
a deadline; neither cuts into a save.

Python calls the handlers of signals that came while it was busy in the order of their numbers;
which one was first is read from a pipe that its C handler writes to (`Arrivals`). Signals that were
pending in the kernel together have no order: it delivers the lowest number first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

ENDING = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""What terminals, `kill` and schedulers send to end a run."""
REPEAT_S = 1.0
LAST_S = 20.0
"""From a second signal until the process leaves, whatever its clean-up waits for."""


class Terminated(BaseException):
    """A signal arrived. Not an Exception, so that no handler takes it for a failure."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Arrivals:
    """The numbers of signals in the order in which they arrived."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None
        self._before = -1

    def open(self) -> None:
        """Begin to keep them; in the main thread alone, as `signal.set_wakeup_fd` wants it."""
        read, write = self._ends = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        self._before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def close(self) -> None:
        """Keep no more; whoever was told of signals before is told again."""
        if self._ends is None:
            return
        now = signal.set_wakeup_fd(self._before)
        if now != self._ends[1]:
            signal.set_wakeup_fd(now)  # of somebody who came later, an event loop
        self._forget()

    def take(self) -> bytes:
        """Those that have come since the last call, the first one first."""
        with contextlib.suppress(OSError):  # nothing is there
            if self._ends is not None:
                return os.read(self._ends[0], 1 << 16)
        return b""

    def leave_to_parent(self) -> None:
        """In a forked child: what it is sent is not its parent's."""
        if self._ends is not None:
            signal.set_wakeup_fd(-1)
            self._forget()

    def _forget(self) -> None:
        assert self._ends is not None
        for end in self._ends:
            os.close(end)
        self._ends = None


class Listener:
    """Keeps the first signal that arrives while it listens."""

    def __init__(self) -> None:
        self.caught: int | None = None
        """The first signal."""
        self.on_leave: Callable[[int], None] | None = None
        """Called with the first signal before a blocked process leaves."""
        self._since = 0.0
        self._depth = 0
        self._waits = False
        self._deadline_s = 0.0
        self._whole = 0
        self._raised = False
        self._looking = False
        self._arrivals = Arrivals()
        os.register_at_fork(after_in_child=self._arrivals.leave_to_parent)

    @contextlib.contextmanager
    def listening(self, numbers: Sequence[int] = (signal.SIGTERM,)) -> Iterator[None]:
        """Take these signals inside; those that are ignored, as by nohup, stay so (not SIGTERM)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if not self._depth:
            self.caught, self._raised, self._waits, self.on_leave = None, False, False, None
            self._looking = False
            self._arrivals.open()
        self._depth += 1
        before = {
            number: signal.getsignal(number)
            for number in numbers
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
        }
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._depth -= 1
            for number, handler in before.items():
                signal.signal(number, handler)
            if not self._depth:
                self._arrivals.close()

    def wait_for_edge(self, deadline_s: float = 0.0) -> None:
        """From now on a signal waits for somebody to look at `caught`.

        Args:
            deadline_s: from a signal until the process leaves without its step; 0 = none.
        """
        self._waits, self._deadline_s = True, deadline_s

    def raise_at_once(self) -> None:
        """From now on a signal raises, and one that has waited does so now."""
        self._waits = False
        if self.caught is not None and not self._raised:
            self._raise()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What is inside is done before any signal has its way."""
        self._whole += 1
        try:
            yield
        finally:
            self._whole -= 1

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.caught is None:
            if self._looking:  # this one came on top of a handler that reads who was first
                return
            self._looking = True
            came = [n for n in self._arrivals.take() if signal.getsignal(n) == self._handle]
            number = came[0] if came else number
        if self.caught is None:  # no other handler has run meanwhile
            self.caught, self._since = number, now
            if self._waits:
                self._say("the step is finished and saved first; a second signal stops at once")
                self._leave_after(self._deadline_s, "the step took too long")
            elif not self._whole:
                self._raise()
            return
        if self._whole or now - self._since < REPEAT_S:
            return
        if self._raised:
            self._leave("what was to be cleaned up is left as it is")
        self._leave_after(LAST_S, "the clean-up took too long")
        self._raise()

    def _raise(self) -> None:
        self._raised = True
        self._since = time.monotonic()
        assert self.caught is not None
        if self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(self.caught)

    def _leave_after(self, seconds: float, why: str) -> None:
        if seconds <= 0:
            return

        def wait() -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end or self._whole:
                time.sleep(0.1)
                if not self._depth:
                    return
            self._leave(why)

        threading.Thread(target=wait, daemon=True).start()

    def _leave(self, why: str) -> None:
        """End the process without its clean-up; what is on the disk is whole."""
        number = self.caught or signal.SIGTERM
        self._say(f"{why}; the last checkpoint stays as it is")
        with contextlib.suppress(BaseException):
            if self.on_leave is not None:
                self.on_leave(number)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(128 + number)

    def _say(self, text: str) -> None:
        name = signal.Signals(self.caught or signal.SIGTERM).name
        with contextlib.suppress(OSError):  # not print, which a handler may find half-way through
            os.write(2, f"\nrl4bio: {name}: {text}\n".encode())


LISTENER = Listener()
"""The process's own."""


def stopped_by(error: BaseException) -> int | None:
    """The signal behind an exception, None where it is another thing."""
    found: Any = error
    if isinstance(found, SystemExit) and isinstance(found.__context__, KeyboardInterrupt):
        return int(signal.SIGINT)  # as Lightning makes it
    if isinstance(found, KeyboardInterrupt):
        return int(signal.SIGINT)
    return found.number if isinstance(found, Terminated) else None
