"""A run folder is one run in W&B, however often it is resumed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rl4bio.callbacks.loggers.build import build_loggers, run_end
from rl4bio.callbacks.loggers.wandb_run import wandb_id
from rl4bio.sections import LoggingConfig

OFFLINE = LoggingConfig(loggers=["wandb"], mode="offline")


def test_a_resumed_run_is_the_same_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two real offline runs of one folder, the second after the end of the first."""
    ids = []
    for step in (1, 2):
        loggers = build_loggers(OFFLINE, tmp_path, {"name": "toy", "steps": step})
        with run_end(loggers, stopped=lambda: False):
            loggers[1].log_metrics({"reward/total_mean": 0.5}, step=step)
            ids.append(loggers[1].experiment.id)  # type: ignore[attr-defined]
    assert ids[0] == ids[1] == json.loads((tmp_path / "wandb.json").read_text())["id"]
    folders = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert folders
    # W&B numbers the folders of one run that begin in the same second.
    assert all(re.search(rf"-{ids[0]}(-\d+)?$", name) for name in folders)
    assert "anonymous" not in "".join(capfd.readouterr())


def test_a_failed_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = []
    loggers = build_loggers(OFFLINE, tmp_path, {"name": "toy"})
    run = loggers[1].experiment  # type: ignore[attr-defined]
    finish = run.finish
    monkeypatch.setattr(run, "finish", lambda exit_code: (codes.append(exit_code), finish()))
    with pytest.raises(OSError, match="disk"), run_end(loggers, stopped=lambda: False):
        raise OSError("disk")
    assert codes == [1]


def test_another_project_is_another_run(tmp_path: Path) -> None:
    first = wandb_id(OFFLINE, tmp_path)
    assert wandb_id(OFFLINE, tmp_path) == first
    other = LoggingConfig(loggers=["wandb"], mode="offline", project="other")
    assert wandb_id(other, tmp_path) != first


def test_an_offline_run_says_how_to_upload_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The folder that is named is there; the run is in the group that was asked for."""
    monkeypatch.setenv("WANDB_RUN_GROUP", "toy-seeds")
    loggers = build_loggers(OFFLINE, tmp_path, {"name": "toy"})
    with run_end(loggers, stopped=lambda: False):
        assert loggers[1].experiment.group == "toy-seeds"  # type: ignore[attr-defined]
    found = re.search(r"upload: wandb sync (\S+)", capfd.readouterr().err)
    assert found is not None
    assert list(Path(found[1]).glob("*.wandb"))
