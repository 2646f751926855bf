"""Molecules in batches, several batches at once, asked again where they fail."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rl4bio.rewards.external.engines import Answers, Engine
from rl4bio.rewards.external.failures import Failure, Tally

RETRY_PAUSE_S = 0.5
"""Before the first retry; doubled for each further one, up to LONGEST_PAUSE_S."""
LONGEST_PAUSE_S = 30.0


@dataclass(kw_only=True)
class BatchScorer:
    """Asks an engine for any number of molecules."""

    engine: Engine
    batch_size: int
    """Molecules of a batch, at most."""
    max_workers: int
    """Batches at once, at most."""
    retries: int
    """How often what failed is asked again."""
    tally: Tally
    """Told what goes wrong, also where a retry mends it."""

    def score(self, smiles: Sequence[str]) -> dict[str, float | Failure]:
        """The score of each SMILES, or why it has none."""
        found: dict[str, float | Failure] = {}
        pending, size = list(dict.fromkeys(smiles)), self.batch_size
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(LONGEST_PAUSE_S, RETRY_PAUSE_S * 2 ** (attempt - 1)))
                # One molecule may have ended its batch. In smaller batches it takes fewer others
                # with it, and from an engine that answers at once none: it stood first, now last.
                pending.reverse()
                size = (min(size, len(pending)) + 1) // 2
            batches = [pending[n : n + size] for n in range(0, len(pending), size)]
            for answers in self._answers(batches):
                found |= answers.found
                for kind, example in answers.noise:
                    self.tally.add(kind, 1, example)
            failed = [one for one in pending if _may_go_better(found[one])]
            if not failed:
                break
            if attempt < self.retries:
                self.tally.add("molecules asked again", len(failed), str(found[failed[0]]))
            pending = failed
        return found

    def _answers(self, batches: Sequence[Sequence[str]]) -> Iterator[Answers]:
        """The answers to batches, in any order."""
        workers = min(self.max_workers, len(batches))
        if workers == 1:
            yield from map(self.engine.ask, batches)
            return
        tasks: queue.SimpleQueue[Sequence[str]] = queue.SimpleQueue()
        results: queue.SimpleQueue[Answers | Exception] = queue.SimpleQueue()
        for batch in batches:
            tasks.put(batch)
        # Not an executor, whose threads the interpreter waits for at its end.
        for _ in range(workers):
            threading.Thread(target=_work, args=(self.engine, tasks, results), daemon=True).start()
        try:
            for _ in batches:
                result = results.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        except BaseException:
            _empty(tasks)
            self.engine.close()
            raise


def _may_go_better(value: float | Failure) -> bool:
    return isinstance(value, Failure) and not value.final


def _work(
    engine: Engine,
    tasks: queue.SimpleQueue[Sequence[str]],
    results: queue.SimpleQueue[Answers | Exception],
) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            batch = tasks.get_nowait()
            try:
                results.put(engine.ask(batch))
            except Exception as error:
                results.put(error)


def _empty(tasks: queue.SimpleQueue[Sequence[str]]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            tasks.get_nowait()
