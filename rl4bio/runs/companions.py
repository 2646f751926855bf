"""The processes of a run end together, with the code and the message of the one that failed first.

A thread of each process tells the others, by the store where they met, that it is there, and looks
for one that has said why it failed or that is gone. Communication libraries notice that late or
never, and each in words of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rl4bio.errors import EXIT_RANK_FAILURE, RankError, Rl4bioError
from rl4bio.process.endings import exit_code_of
from rl4bio.process.signals import stopped_by
from rl4bio.text.redaction import mask_secrets

LOOK_S = 1.0
"""Between two looks at the others."""
SETTLE_S = 3 * LOOK_S
"""How long a failing process waits for one that may have failed before it, or for those behind."""
GRACE_S = 10.0
"""Left to a process to end by itself once another has failed."""
SILENT_S = 40.0
"""After which a process of another machine that says nothing is taken to be gone."""
_FIRST = "rl4bio/first"


class OtherFailure(Rl4bioError):
    """Another process of the run has failed first, or is gone; carries that one's exit code."""

    kind = "rank"
    exit_code = EXIT_RANK_FAILURE


def failure_from(text: str) -> OtherFailure:
    """The failure that a process has left in the store."""
    told = json.loads(text)
    error = OtherFailure(f"process {told['rank']} of {told['world']} failed first: {told['text']}")
    error.exit_code, error.kind = int(told["code"]), str(told["kind"])
    return error


class Companions(threading.Thread):
    """Watches over the other processes.

    Args:
        store: where they met; a connection of its own is made to it.
        rank: of this process.
        world: how many there are.
    """

    def __init__(self, store: Any, rank: int, world: int) -> None:
        super().__init__(daemon=True, name="companions")
        self.store, self.rank, self.world = store.clone(), rank, world
        self.finished = threading.Event()
        """Whether this process has nothing more to do with the others."""
        self.failure: OtherFailure | None = None
        self._lock = threading.Lock()
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._number = 0

    def run(self) -> None:
        """Look at the others until one has failed or this process is done, then end it."""
        while not self.finished.wait(LOOK_S):
            failure = self.look()
            if failure is not None:
                self.failure = failure
                if not self.finished.wait(GRACE_S):
                    leave_with(failure)
                return

    def look(self) -> OtherFailure | None:
        """Say that this process is there; what has happened to another."""
        if self.failure is not None:
            return self.failure
        try:
            with self._lock:
                self._number += 1
                self.store.set(f"rl4bio/place/{self.rank}", f"{machine()} {os.getpid()}")
                self.store.set(f"rl4bio/beat/{self.rank}", str(self._number))
                if self.store.check([_FIRST]):
                    told = self.store.get(_FIRST).decode()
                    self.store.set(f"rl4bio/told/{self.rank}", "yes")
                    return None if json.loads(told)["rank"] == self.rank else failure_from(told)
                gone = next((n for n in range(self.world) if n != self.rank and self._gone(n)), -1)
        except RuntimeError:
            return OtherFailure("the first process of the run has ended, or was killed")
        if gone < 0:
            return None
        return OtherFailure(
            f"process {gone} of {self.world} has ended without a word: was it killed?"
        )

    def _gone(self, rank: int) -> bool:
        """Whether a process has ended without saying that it was done."""
        keys = [f"rl4bio/{name}/{rank}" for name in ("place", "beat", "done")]
        if not self.store.check(keys[:1]) or self.store.check(keys[2:]):
            return False
        where, number = self.store.get(keys[0]).decode().split()
        if where == machine():
            return not is_running(int(number))
        beat, now = self.store.get(keys[1]), time.monotonic()
        if self._beats.get(rank, (b"", 0.0))[0] != beat:
            self._beats[rank] = (beat, now)
        return now - self._beats[rank][1] > SILENT_S

    def first_failure(self, code: int, kind: str, text: str, *, plain: bool) -> OtherFailure | None:
        """Tell the others that this process has failed; the failure that came before, if one did.

        Args:
            code: its exit code.
            kind: of its error.
            text: its message.
            plain: whether its error is its own beyond doubt, and not what another's end has caused.
        """
        until = time.monotonic() + (0.0 if plain else SETTLE_S)
        while (found := self.look()) is None and time.monotonic() < until:
            time.sleep(LOOK_S / 5)
        if found is None:
            own = {"rank": self.rank, "world": self.world, "code": code, "kind": kind, "text": text}
            with contextlib.suppress(RuntimeError), self._lock:
                told = self.store.compare_set(_FIRST, "", json.dumps(own)).decode()
                if json.loads(told)["rank"] != self.rank:
                    found = failure_from(told)
        self._wait_for_others()
        self.finished.set()
        return found

    def _wait_for_others(self) -> None:
        """Where the store is this process's own, let them read it before it goes."""
        others = [f"rl4bio/told/{n}" for n in range(self.world) if n != self.rank]
        until = time.monotonic() + (SETTLE_S if self.rank == 0 else 0.0)
        while time.monotonic() < until:
            with contextlib.suppress(RuntimeError), self._lock:
                if all(self.store.check([name]) for name in others):
                    return
            time.sleep(LOOK_S / 5)

    def done(self) -> None:
        """Tell the others that this process ends in good order."""
        self.finished.set()
        with contextlib.suppress(RuntimeError), self._lock:
            self.store.set(f"rl4bio/done/{self.rank}", "yes")


_company: Companions | None = None


def keep_company() -> None:
    """Begin to watch over the other processes, once they have met."""
    global _company
    distributed = sys.modules["torch"].distributed
    if _company is not None or not distributed.is_initialized():
        return
    store = distributed.distributed_c10d._get_default_store()
    _company = Companions(store, distributed.get_rank(), distributed.get_world_size())
    _company.start()


def _is_done() -> bool:
    """Whether this process has parted from the others."""
    return _company is not None and _company.finished.is_set()


def part_company() -> None:
    """This process needs the others no more."""
    if _company is not None:
        _company.done()


def together(
    command: Callable[[argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    """A command that ends in all processes of a run for the reason of the one that failed first.

    Args:
        command: what each of them runs.
    """

    def run(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except BaseException as error:
            if _company is None or _is_done():
                raise
            plain = isinstance(error, Rl4bioError) and not isinstance(error, RankError)
            first = _company.first_failure(
                exit_code_of(error),
                error.kind if isinstance(error, Rl4bioError) else "internal",
                mask_secrets(str(error)) or type(error).__name__,
                plain=plain or stopped_by(error) is not None,
            )
            if first is None:
                raise
            raise first from error

    return run


@functools.cache
def machine() -> str:
    """Where numbers of processes mean the same: a machine, since it was started, and a container's
    own numbers apart from those of another."""
    found = [socket.gethostname()]
    with contextlib.suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        found.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(found)


def is_running(number: int) -> bool:
    """Whether a process of this machine runs; a zombie does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return False
        try:
            os.kill(number, 0)
        except OSError:
            return False
        return True
    return state not in ("Z", "X")


def leave_with(failure: OtherFailure) -> None:
    """End a process that waits in a library for one that will not come."""
    line = f"rl4bio: error[{failure.kind}]: {failure}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(failure.exit_code)


def watch_children(children: Sequence[subprocess.Popen[Any]]) -> None:
    """End this process, which has started the others, soon after one of them has failed."""

    def watch() -> None:
        while True:
            time.sleep(LOOK_S)
            codes = [child.poll() for child in children]
            if _is_done() or all(code == 0 for code in codes):
                return
            bad = [(n, code) for n, code in enumerate(codes, 1) if code]
            if bad:
                break
        number, code = bad[0]
        error = OtherFailure(f"process {number} of this run has ended (exit code {code})")
        error.exit_code = code if code > 0 else EXIT_RANK_FAILURE
        time.sleep(GRACE_S)
        for child in children:
            child.kill()
        leave_with(error)

    threading.Thread(target=watch, daemon=True, name="children").start()


def watch_parent() -> None:
    """End this process soon after the one that has started it has gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        time.sleep(GRACE_S)
        if _is_done():
            return
        leave_with(OtherFailure("the first process of the run has ended, or was killed"))

    threading.Thread(target=watch, daemon=True, name="parent").start()
