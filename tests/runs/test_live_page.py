"""rl4bio.runs.live_page: the page of a run while it trains."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl4bio.config.load import load_config
from rl4bio.runs.live_page import LivePage
from rl4bio.storage import RunFolder


def trained(folder: RunFolder, step: int) -> tuple[Any, Any]:
    """A Trainer and a module as a callback finds them behind a step."""
    folder.root.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{n},{n / 10}\n" for n in range(1, step + 1))
    folder.metrics.write_text(f"step,reward/total_mean\n{rows}")
    module = SimpleNamespace(iteration=step, draws=8 * step, warnings=[], max_steps=40)
    return SimpleNamespace(is_global_zero=True, max_steps=40), module


def test_every_so_often_and_an_open_page_reads_itself_again(tmp_path: Path) -> None:
    config = load_config("rl4bio:pubmedqa_nano", ["logging.live_page_every_steps=2"])
    folder = RunFolder(tmp_path / "mine")
    page = LivePage(config, folder, config.logging.live_page_every_steps)
    page.on_train_batch_end(*trained(folder, 1))
    assert not folder.report.exists()
    page.on_train_batch_end(*trained(folder, 2))
    written = folder.report.read_text("utf-8")
    assert "<h1>pubmedqa_nano: step 2 of 40</h1>" in written
    assert '<meta http-equiv="refresh" content="30">' in written
    assert not folder.summary.exists()  # the run is not finished


def test_a_page_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config("rl4bio:pubmedqa_nano")
    folder = RunFolder(tmp_path / "mine")
    folder.report.mkdir(parents=True)  # no file can take its place
    page = LivePage(config, folder, 1)
    with caplog.at_level("WARNING", logger="rl4bio"):
        page.on_train_batch_end(*trained(folder, 1))
        page.on_train_batch_end(*trained(folder, 2))
    assert caplog.text.count("the live page cannot be written") == 1
