"""Tests of batches and retries with an engine that is a function."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from rl4bio.rewards.external import scorer as module
from rl4bio.rewards.external.engines import Answers
from rl4bio.rewards.external.failures import Failure, Tally
from rl4bio.rewards.external.scorer import BatchScorer

CRASH = Failure("crash", "exited with 1")
REFUSED = Failure("refused", "no conformer")


@dataclass
class FunctionEngine:
    """Remembers the batches that it was asked."""

    answer: Callable[[Sequence[str]], dict[str, float | Failure]]
    batches: list[list[str]] = field(default_factory=list)
    closed: bool = False

    def ask(self, smiles: Sequence[str]) -> Answers:
        self.batches.append(list(smiles))
        return Answers(found=self.answer(smiles))

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE_S", 0.0)


def build(engine: FunctionEngine, **options: Any) -> BatchScorer:
    usual: dict[str, Any] = {"batch_size": 4, "max_workers": 1, "retries": 0, "tally": Tally("t")}
    return BatchScorer(engine=engine, **{**usual, **options})


def test_batches_hold_each_molecule_once() -> None:
    engine = FunctionEngine(lambda batch: {one: float(len(one)) for one in batch})
    found = build(engine, batch_size=2).score(["C", "CC", "C", "CCC", "CC", "CCCC", "CCCCC"])
    assert engine.batches == [["C", "CC"], ["CCC", "CCCC"], ["CCCCC"]]
    assert found == {"C" * n: float(n) for n in range(1, 6)}


def fragile(batch: Sequence[str]) -> dict[str, float | Failure]:
    """Answers in order until X ends it, and with it all that comes behind."""
    end = list(batch).index("X") if "X" in batch else len(batch)
    return {one: 1.0 if n < end else CRASH for n, one in enumerate(batch)}


def test_a_molecule_that_ends_its_batch_takes_no_other_with_it() -> None:
    engine = FunctionEngine(fragile)
    tally = Tally("t")
    found = build(engine, retries=1, tally=tally).score(["A", "X", "B", "C", "D"])
    # A is answered before X; then X, B and C come the other way round in batches of (3 + 1) / 2.
    assert engine.batches == [["A", "X", "B", "C"], ["D"], ["C", "B"], ["X"]]
    assert found == {"A": 1.0, "B": 1.0, "C": 1.0, "D": 1.0, "X": CRASH}
    assert tally.counts == {"molecules asked again": 3}


def test_retries_end() -> None:
    engine = FunctionEngine(lambda batch: dict.fromkeys(batch, CRASH))
    assert build(engine, retries=3).score(["A", "B"]) == {"A": CRASH, "B": CRASH}
    assert [len(batch) for batch in engine.batches] == [2, 1, 1, 1, 1, 1, 1]


def test_an_engine_that_says_no_is_not_asked_again() -> None:
    engine = FunctionEngine(lambda batch: dict.fromkeys(batch, REFUSED))
    assert build(engine, retries=3).score(["A"]) == {"A": REFUSED}
    assert engine.batches == [["A"]]


def test_pauses_double_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module, "RETRY_PAUSE_S", 0.5)
    monkeypatch.setattr(module.time, "sleep", slept.append)
    build(FunctionEngine(lambda batch: {"A": CRASH}), retries=8).score(["A"])
    assert slept == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_batches_run_at_once_up_to_max_workers() -> None:
    """Each of two batches waits until the other has begun; a third may not."""
    running, most = 0, 0
    lock, meet = threading.Lock(), threading.Barrier(2)

    def answer(batch: Sequence[str]) -> dict[str, float | Failure]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meet.wait(60)
        with lock:
            running -= 1
        return {one: float(one) for one in batch}

    engine = FunctionEngine(answer)
    names = [str(n) for n in range(12)]
    found = build(engine, batch_size=2, max_workers=2).score(names)
    assert found == {name: float(name) for name in names}
    assert most == 2


def test_an_error_of_our_own_closes_the_engine_and_is_raised() -> None:
    def answer(batch: Sequence[str]) -> dict[str, float | Failure]:
        if "2" in batch:
            raise KeyError("a bug")
        return dict.fromkeys(batch, 1.0)

    engine = FunctionEngine(answer)
    with pytest.raises(KeyError, match="a bug"):
        build(engine, batch_size=1, max_workers=2).score([str(n) for n in range(9)])
    assert engine.closed


def test_an_interrupt_does_not_wait_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    engine = FunctionEngine(lambda batch: ended.wait(60) and {})
    engine.close = ended.set  # type: ignore[method-assign]

    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    class Interrupted:
        put = staticmethod(lambda result: None)
        get = interrupted

    queues = iter([module.queue.SimpleQueue(), Interrupted()])
    monkeypatch.setattr(module.queue, "SimpleQueue", lambda: next(queues))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build(engine, batch_size=1, max_workers=2).score(["1", "2", "3"])
    assert ended.is_set()
    assert time.monotonic() - start < 30
