"""The log of a run: bounded, and quiet about a disk that is full."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rl4bio.runs import log as run_log


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """log.txt of a process that logs, of at most 2,000 bytes."""
    monkeypatch.setattr(run_log, "MAX_LOG_BYTES", 2000)
    run_log.set_up_logging()
    run_log.log_to(tmp_path / "log.txt")
    yield tmp_path / "log.txt"
    run_log.close_logging()


def test_it_is_one_file_of_a_stated_size_and_the_one_before(written: Path) -> None:
    for number in range(500):
        logging.getLogger("rl4bio").info("line %d", number)
    assert sorted(p.name for p in written.parent.iterdir()) == ["log.txt", "log.txt.1"]
    assert all(p.stat().st_size <= 2000 for p in written.parent.iterdir())
    assert written.read_text().endswith("INFO line 499\n")


def test_another_process_goes_on_in_the_new_file(written: Path) -> None:
    other = run_log.SharedLog(written)
    record = logging.makeLogRecord({"msg": "of another"})
    for number in range(100):
        logging.getLogger("rl4bio").info("line %d", number)
    other.emit(record)
    other.close()
    assert written.read_text().endswith("of another\n")


def test_a_message_has_a_bound(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "MAX_RECORD", 100)
    logging.getLogger("rl4bio").info("%s", "x" * 10_000)
    assert written.stat().st_size == 101


def test_what_a_second_model_says_again_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    run_log.show_progress()
    log = logging.getLogger("rl4bio")
    for model in ("base", "tuned"):
        log.info("attention: %s", "eager")
        log.warning("careful")
        log.info("%s: 4 of 4 answered", model)
    run_log.close_logging()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"rl4bio: {words}"
        for words in ("attention: eager", "careful", "base: 4 of 4 answered", "careful",
                      "tuned: 4 of 4 answered")
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_no_traceback(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler: Any = next(h for h in logging.getLogger().handlers if type(h) is run_log.OwnLog)
    handler.stream.close()
    handler.stream = open("/dev/full", "w")  # noqa: SIM115
    logging.getLogger("lightning").warning("nowhere to write this")
    run_log.close_logging()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_traces")
@pytest.mark.parametrize("begin", ["set_up_logging", "show_progress", "leave_out_noise"])
def test_what_libraries_say_of_others_is_not_shown(begin: str) -> None:
    getattr(run_log, begin)()
    assert not logging.getLogger("bitsandbytes.functional").isEnabledFor(logging.WARNING)
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn("`is_gradient_checkpointing` is deprecated", FutureWarning, stacklevel=1)
    assert not seen
    run_log.close_logging()
