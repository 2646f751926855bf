"""A command or an HTTP service as an engine: a batch of SMILES in, a score or a failure each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rl4bio.rewards.external.endpoint import Endpoint
from rl4bio.rewards.external.failures import ExchangeError, Failure
from rl4bio.rewards.external.process import LineProcess
from rl4bio.rewards.external.protocol import AnswerReader, request_lines


@dataclass(slots=True, kw_only=True)
class Answers:
    """What came back for a batch."""

    found: dict[str, float | Failure]
    """By SMILES, all of the batch."""
    noise: list[tuple[str, str]] = field(default_factory=list)
    """Kind and example of what was ignored."""


class Engine(Protocol):
    """Something outside the package that scores molecules; called from several threads."""

    def ask(self, smiles: Sequence[str]) -> Answers:
        """The scores of some different SMILES; what goes wrong is in the answers."""

    def close(self) -> None:
        """End what runs, also under a call in another thread."""


class _LineEngine:
    """The engine's side of the protocol that commands and services share.

    Args:
        score_field: name of the score in an answer.
        timeout_s: of a batch.
    """

    def __init__(self, *, score_field: str, timeout_s: float) -> None:
        self.score_field = score_field
        self.timeout_s = timeout_s
        # Never used twice, so that a late answer is not taken for one of the next batch.
        self._ids = itertools.count()

    def ask(self, smiles: Sequence[str]) -> Answers:
        molecules = {str(next(self._ids)): one for one in smiles}
        reader = AnswerReader(list(molecules), self.score_field)
        failure = Failure("no answer", "the engine ended without an answer for each molecule")
        try:
            self._exchange(request_lines(molecules), reader)
        except ExchangeError as error:
            reason = f"{error} (answered {len(reader.found)} of {len(molecules)})"
            failure = Failure(error.kind, reason if reader.found else str(error))
        found = {one: reader.found.get(key, failure) for key, one in molecules.items()}
        return Answers(found=found, noise=reader.noise)

    def _exchange(self, requests: bytes, reader: AnswerReader) -> None:
        raise NotImplementedError


class CommandEngine(_LineEngine):
    """A command that reads requests from stdin and writes answers to stdout.

    Args:
        command: program and arguments; no shell reads them.
        persistent: keep the process for the next batch; else each batch has its own.
        score_field: name of the score in an answer.
        timeout_s: of a batch, the start of the process included.
    """

    def __init__(
        self, command: Sequence[str], *, persistent: bool, score_field: str, timeout_s: float
    ) -> None:
        super().__init__(score_field=score_field, timeout_s=timeout_s)
        self.command = list(command)
        self.persistent = persistent
        self._idle: list[LineProcess] = []
        self._busy: set[LineProcess] = set()
        self._lock = threading.Lock()

    def _exchange(self, requests: bytes, reader: AnswerReader) -> None:
        process = self._take()
        answered = False
        try:
            process.exchange(
                requests, reader.read_line, timeout_s=self.timeout_s, last=not self.persistent
            )
            answered = True
        finally:
            keep = answered and self.persistent
            with self._lock:
                self._busy.discard(process)
                if keep:
                    self._idle.append(process)
            if not keep:
                process.close(gently=answered)

    def _take(self) -> LineProcess:
        """An idle process that still runs, or a new one."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.running:
                    break
                process.close()
            else:
                process = LineProcess(self.command)
            self._busy.add(process)
            return process

    def close(self) -> None:
        """End idle processes, and those that still answer."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for process in busy:  # whose thread then sees their end, and closes them
            process.kill()
        for process in idle:
            process.close(gently=True)


class EndpointEngine(_LineEngine):
    """A service that takes requests by POST.

    Args:
        endpoint: where it is.
        score_field: name of the score in an answer.
        timeout_s: of a batch.
    """

    def __init__(self, endpoint: Endpoint, *, score_field: str, timeout_s: float) -> None:
        super().__init__(score_field=score_field, timeout_s=timeout_s)
        self.endpoint = endpoint

    def _exchange(self, requests: bytes, reader: AnswerReader) -> None:
        reader.read_body(self.endpoint.post(requests, timeout_s=self.timeout_s))
        if not reader.found:
            noise = reader.noise[0][1] if reader.noise else "an empty body"
            raise ExchangeError("no answer", f"the service answered no molecule but: {noise}")

    def close(self) -> None:
        """Nothing: a request ends with its time-out."""
