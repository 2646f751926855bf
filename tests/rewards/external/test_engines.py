"""Tests of engines that are commands; the score of a SMILES is its length unless one says else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.rewards.external import process as process_module
from rl4bio.rewards.external.engines import Answers, CommandEngine
from rl4bio.rewards.external.failures import Failure

Program = Callable[[str], list[str]]
Build = Callable[..., CommandEngine]
LENGTH = "for r in requests(): answer(r, len(r['smiles']))"


@pytest.fixture
def build(program: Program) -> Build:
    def build(source: str, *, persistent: bool = False, timeout_s: float = 60.0) -> CommandEngine:
        return CommandEngine(
            program(source), persistent=persistent, score_field="score", timeout_s=timeout_s
        )

    return build


def kinds(answers: Answers) -> dict[str, object]:
    return {k: v.kind if isinstance(v, Failure) else v for k, v in answers.found.items()}


@pytest.mark.parametrize("persistent", [False, True])
def test_scores(build: Build, persistent: bool) -> None:
    engine = build(LENGTH, persistent=persistent)
    assert engine.ask(["C", "CCO"]).found == {"C": 1.0, "CCO": 3.0}
    assert engine.ask(["CC"]).found == {"CC": 2.0}
    engine.close()


def test_one_process_for_all_batches_or_one_each(build: Build) -> None:
    source = "for r in requests(): answer(r, os.getpid())"
    for persistent, processes in ((True, 1), (False, 3)):
        engine = build(source, persistent=persistent)
        found = [engine.ask([smiles]).found[smiles] for smiles in ("C", "CC", "CCC")]
        assert len(set(found)) == processes
        engine.close()


def test_a_batch_process_reads_to_the_end_and_answers_then(build: Build) -> None:
    source = "all = list(requests())\nfor r in reversed(all): answer(r, len(all))"
    assert build(source).ask(["C", "CC", "CCC"]).found == {"C": 3.0, "CC": 3.0, "CCC": 3.0}


def test_a_crash_midway_keeps_what_was_answered(build: Build) -> None:
    source = """
    for r in requests():
        if r["smiles"] == "N":
            raise RuntimeError("no nitrogen")
        answer(r, 1)
    """
    for persistent in (False, True):
        found = build(source, persistent=persistent).ask(["C", "N", "O"]).found
        assert found["C"] == 1.0
        for smiles in ("N", "O"):
            failure = found[smiles]
            assert isinstance(failure, Failure)
            assert failure.kind == "crash"
            assert "RuntimeError: no nitrogen (answered 1 of 3)" in failure.reason


def test_a_molecule_that_is_left_out(build: Build) -> None:
    source = "for r in requests(): r['smiles'] == 'N' or answer(r, 1)"
    answers = build(source).ask(["C", "N"])
    assert kinds(answers) == {"C": 1.0, "N": "no answer"}


def test_a_persistent_process_that_ended_is_replaced(build: Build) -> None:
    engine = build("answer(next(requests()), 1)", persistent=True)
    assert engine.ask(["C"]).found == {"C": 1.0}
    while engine._idle[0].running:
        time.sleep(0.01)
    assert engine.ask(["CC"]).found == {"CC": 1.0}
    engine.close()


def test_a_late_answer_is_not_taken_for_the_next_batch(build: Build) -> None:
    source = """
    before = None
    for r in requests():
        if before:
            answer(before, 2)
        answer(r, 1)
        before = r
    """
    engine = build(source, persistent=True)
    assert engine.ask(["C"]).found == {"C": 1.0}
    answers = engine.ask(["CC"])
    assert answers.found == {"CC": 1.0}
    assert [kind for kind, _ in answers.noise] == ["answers without an id of their batch"]
    engine.close()


def test_after_a_time_out_a_new_process(
    build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_module, "GRACE_S", 0.2)
    source = f"""
    for r in requests():
        if r["smiles"] == "slow":
            open({str(tmp_path / "asked")!r}, "w").close()
            time.sleep(1000)
        answer(r, os.getpid())
    """
    engine = build(source, persistent=True)
    before = engine.ask(["C"]).found["C"]
    engine.timeout_s = 0.2
    assert kinds(engine.ask(["slow"])) == {"slow": "time-out"}
    assert engine._idle == []
    engine.timeout_s = 60.0
    after = engine.ask(["CC"]).found["CC"]
    assert isinstance(after, float)
    assert after != before
    engine.close()


def test_smiles_are_data(build: Build, tmp_path: Path) -> None:
    """Neither a shell nor the command line sees them."""
    source = "for r in requests(): answer(r, len(sys.argv) + len(r['smiles']))"
    evil = f"$(touch {tmp_path / 'owned'})`id`; \n--help"
    assert build(source).ask([evil]).found == {evil: 1.0 + len(evil)}
    assert not (tmp_path / "owned").exists()


def test_a_forked_rank_has_processes_of_its_own(build: Build) -> None:
    engine = build("for r in requests(): answer(r, os.getpid())", persistent=True)
    ours = engine.ask(["C"]).found["C"]
    read_end, write_end = os.pipe()
    rank = os.fork()
    if rank == 0:
        try:
            os.write(write_end, str(engine.ask(["C"]).found["C"]).encode())
            engine.close()
        finally:
            os._exit(0)
    os.close(write_end)
    theirs = float(os.read(read_end, 100))
    os.close(read_end)
    os.waitpid(rank, 0)
    assert theirs != ours
    assert engine.ask(["CC"]).found["CC"] == ours  # still there, and in step
    engine.close()
