"""What a run prints may have no reader any more."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from rl4bio.callbacks.progress_line import ProgressLine
from rl4bio.cli import have_streams
from rl4bio.runs.screen import lasting_output


def test_a_pipe_whose_reader_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with lasting_output():
            print("read", flush=True)
            assert os.read(reader, 100) == b"read\n"
            os.close(reader)
            print("not read", flush=True)
            print("x" * 100_000)
            assert sys.stdout.fileno() == writer
        assert sys.stdout is pipe
        print("behind it, to nowhere", flush=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rl4bio"), "propagate", True)
    caplog.set_level(logging.INFO, "rl4bio")
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        with lasting_output():
            ProgressLine().stream.write("step 1\n")
            for _ in range(3):
                print("x" * 100_000, file=sys.stderr, flush=True)
    assert caplog.text.count("/dev/full cannot be written any more ([Errno 28]") == 1


def test_no_streams_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    have_streams()
    print("to nowhere", file=sys.stderr, flush=True)
    assert not sys.stdout.isatty()
    sys.stdout.close()
    sys.stderr.close()
