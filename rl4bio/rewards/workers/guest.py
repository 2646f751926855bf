"""Our side of a reward in processes of its own."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import marshal
import math
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import rl4bio.errors
from rl4bio.errors import ConfigError, RewardError, Rl4bioError
from rl4bio.rewards.checked import named
from rl4bio.rewards.external import watcher
from rl4bio.rewards.workers import frames
from rl4bio.rewards.workers.orphans import VARIABLE, end_orphans
from rl4bio.rewards.workers.worker import START_S, Lost, Worker
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

log = logging.getLogger("rl4bio")

Values = dict[int, float]


class Guest:
    """A reward that scores in worker processes, under a deadline and a limit of memory.

    Args:
        config: of the reward; its policy on errors is kept here.
        where: key of the reward, for messages.
        plugins: files and modules to import first.
        whole: whether the reward scores a batch in one call.

    Raises:
        Rl4bioError: the reward cannot be made or prepared, as in the run's own process.
    """

    def __init__(
        self, config: RewardConfig, *, where: str, plugins: Sequence[str], whole: bool
    ) -> None:
        self.name, self.config, self.where, self.whole = config.name, config, where, whole
        self.failures: Counter[str] = Counter()
        """Completions by what happened: error, time-out, crash; of the last call."""
        self.token = secrets.token_hex(8)
        self._closed = False
        self._workers: list[Worker | None] = [None] * (1 if whole else config.workers)
        self._lock = threading.Lock()
        self._plugins = list(plugins)
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "rl4bio.rewards.workers.server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, VARIABLE: self.token, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._control = ours
        watcher.watch(self._server.pid, self.token)
        _LIVE.add(self)
        spec = {
            "name": self.name,
            "options": self.config.options,
            "where": self.where,
            "plugins": self._plugins,
            "path": sys.path,
            "memory_bytes": int(self.config.memory_gb * 1e9),
        }
        try:
            deadline = time.monotonic() + START_S
            frames.send(ours, marshal.dumps(spec), deadline)
            answer = json.loads(frames.receive(ours, deadline))
        except (frames.Gone, TimeoutError, ValueError) as error:
            self.close()
            raise ConfigError(
                f"{self.where}: reward {self.name!r} does not start in a process of its own "
                f"({error or 'time-out'}); try isolation: none to see why"
            ) from None
        if "error" in answer:
            self.close()
            raise _error_of(answer["kind"], str(answer["error"]), self.where)

    def score(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> tuple[list[float], dict[str, list[float]]]:
        """The values of N completions and the raw values; NaN where the policy skips one.

        Raises:
            RewardError: a completion has no value, and the policy is to stop.
        """
        self.failures.clear()
        if not completions:
            return [], {}
        rows = list(range(len(completions)))
        count = len(self._workers)
        parts = [rows[n::count] for n in range(count)] if not self.whole else [rows]
        jobs = [(n, part) for n, part in enumerate(parts) if part]
        if len(jobs) < 2:
            found = [self._score(slot, part, completions, samples) for slot, part in jobs]
        else:
            with ThreadPoolExecutor(len(jobs)) as pool:
                found = list(
                    pool.map(lambda job: self._score(job[0], job[1], completions, samples), jobs)
                )
        values = {row: value for part, _ in found for row, value in part.items()}
        names = {name for _, raw in found for name in raw}
        raw_values = {
            name: [
                next((raw[name][row] for _, raw in found if row in raw.get(name, {})), math.nan)
                for row in rows
            ]
            for name in sorted(names)
        }
        return [values.get(row, math.nan) for row in rows], raw_values

    def _score(
        self, slot: int, rows: list[int], completions: Sequence[str], samples: Sequence[Sample]
    ) -> tuple[Values, dict[str, Values]]:
        """The values of some rows, by row, from one worker and those that take its place."""
        values: Values = {}
        raw: dict[str, Values] = {}
        tries: Counter[int] = Counter()
        pending = rows
        while pending:
            again: list[int] = []
            request = self._request(pending, completions, samples)
            try:
                worker = self._workers[slot] or self._hire(slot)
                for answer in worker.ask(request, 1 if self.whole else len(pending)):
                    if "error" in answer:
                        first = pending if self.whole else [pending[answer["row"]]]
                        log.info("%s", answer.get("trace", ""))
                        again += self._failed(first, "error", answer["error"], tries, values)
                    elif "raw" in answer:
                        for name, column in answer["raw"].items():
                            found = zip(pending, map(_number, column), strict=True)
                            raw.setdefault(name, {}).update(found)
                    elif "values" in answer:
                        values |= zip(pending, map(_number, answer["values"]), strict=True)
                    else:
                        values[pending[answer["row"]]] = _number(answer["value"])
            except RewardError:
                self._dismiss(slot)  # it may still be at work
                raise
            except Lost as lost:
                kind, how = lost.args
                self._dismiss(slot)
                left = [row for row in pending if row not in values and row not in again]
                hurt = left if self.whole else left[:1]
                where = "" if not hurt else named(completions, samples, hurt[0])
                text = f"reward {self.name!r} {how}; on {where}; {_ADVICE[kind]}"
                again += self._failed(hurt, kind, text, tries, values)
                again += [row for row in left if row not in hurt]
            pending = again
        return values, raw

    def _failed(
        self, rows: list[int], kind: str, text: str, tries: Counter[int], values: Values
    ) -> list[int]:
        """The rows to ask for again; or NaN for them, or an error, as the policy says."""
        tries.update(rows)
        if self.config.retries and max((tries[row] for row in rows), default=0) <= (
            self.config.retries
        ):
            return rows
        if not self.config.skips:
            raise RewardError(text)
        with self._lock:
            if not self.failures[kind]:
                log.warning("%s (skipped: it counts as not scored)", text)
            self.failures[kind] += len(rows)
        values |= dict.fromkeys(rows, math.nan)
        return []

    def _request(
        self, rows: list[int], completions: Sequence[str], samples: Sequence[Sample]
    ) -> bytes:
        try:
            return marshal.dumps(
                {
                    "texts": [completions[row] for row in rows],
                    "samples": [samples[row].plain() for row in rows],
                    "whole": self.whole,
                }
            )
        except ValueError:
            raise RewardError(
                f"reward {self.name!r}: a sample has values in `extra` that are no plain ones, and "
                "cannot go to another process; use isolation: none"
            ) from None

    def _hire(self, slot: int) -> Worker:
        with self._lock:
            try:
                worker = Worker(self._control, self._lock, self.config.timeout_s)
            except (frames.Gone, OSError, TimeoutError) as error:
                log.info("reward %r: its process has ended (%s); another begins", self.name, error)
                self._end_server()
                self._start()
                worker = Worker(self._control, self._lock, self.config.timeout_s)
            self._workers[slot] = worker
            watcher.watch(worker.pid)
        return worker

    def _dismiss(self, slot: int) -> None:
        """End a worker and all that it started."""
        with self._lock:
            worker, self._workers[slot] = self._workers[slot], None
            if worker is None:
                return
            worker.end()
            watcher.unwatch(worker.pid)
            keep = {other.pid for other in self._workers if other is not None}
            end_orphans(self.token, keep, spare=self._server.pid)

    def close(self) -> None:
        """End the processes."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            if worker is not None:
                worker.end()
                watcher.unwatch(worker.pid)
        self._workers = [None] * len(self._workers)
        self._end_server()
        end_orphans(self.token)

    def _end_server(self) -> None:
        with contextlib.suppress(OSError):
            self._server.kill()
        self._server.wait()
        self._control.close()
        watcher.unwatch(self._server.pid)

    def __del__(self) -> None:
        if hasattr(self, "_server"):
            self.close()


_LIVE: weakref.WeakSet[Guest] = weakref.WeakSet()


def _close_all() -> None:
    for guest in list(_LIVE):
        guest.close()


def _forget_all() -> None:
    """In a forked child: the guests are the parent's."""
    for guest in list(_LIVE):
        guest._closed = True
    _LIVE.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)


_ADVICE: Mapping[str, str] = {
    "time-out": "repair it, raise its timeout_s, or set its on_error to skip",
    "crash": "repair it, raise its memory_gb, or set its on_error to skip",
}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _error_of(kind: str, text: str, where: str) -> Rl4bioError:
    """The error of ours that has this kind."""
    for found in vars(rl4bio.errors).values():
        if isinstance(found, type) and issubclass(found, Rl4bioError) and found.kind == kind:
            return found(text)
    return ConfigError(f"{where}: {text}")
