"""metrics.csv, and the loggers of a configuration."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import WandbLogger

from rl4bio.callbacks.completion_table import CompletionTable
from rl4bio.callbacks.kl import KLMonitor
from rl4bio.callbacks.loggers.build import MetricsCSV, build_loggers, go_back, run_end
from rl4bio.callbacks.loggers.mlflow_run import MLflowRun
from rl4bio.callbacks.loggers.wandb_run import wandb_offline
from rl4bio.callbacks.reward_histogram import RewardHistogram
from rl4bio.errors import ConfigError, MissingPackageError, StorageError
from rl4bio.process.signals import Terminated
from rl4bio.sections import LoggingConfig


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class TestMetricsCSV:
    def test_a_row_a_step_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        logger = MetricsCSV(path)
        logger.log_metrics({"a": 0.1, "b": 2}, step=1)
        assert path.read_text() == "step,a,b\n1,0.1,2.0\n"
        logger.log_metrics({"a": 1e-30}, step=2)
        assert path.read_text() == "step,a,b\n1,0.1,2.0\n2,1e-30,\n"

    def test_columns_may_grow(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        logger = MetricsCSV(path)
        logger.log_metrics({"a": 1}, step=1)
        logger.log_metrics({"val, mean": 0.5}, step=1)
        logger.log_metrics({"b": math.nan, "a": 3}, step=2)
        logger.log_metrics({"a": 4}, step=3)
        logger.log_metrics({"b": 5}, step=3)
        assert rows_of(path) == [
            {"step": "1", "a": "1.0", "val, mean": "0.5", "b": ""},
            {"step": "2", "a": "3.0", "val, mean": "", "b": "nan"},
            {"step": "3", "a": "4.0", "val, mean": "", "b": "5.0"},
        ]

    def test_a_file_is_continued(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        straight = MetricsCSV(tmp_path / "straight.csv")
        for step in (1, 2, 3, 4):
            # Each step a new logger, as if the process had died after every step.
            for logger in (MetricsCSV(path), straight):
                logger.log_metrics({"a": step / 7}, step=step)
                logger.log_metrics({f"b{step}": step}, step=step)
        assert path.read_text() == (tmp_path / "straight.csv").read_text()

    def test_a_torn_last_line_is_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        path.write_text("step,a\n1,1.0\n2,1.")
        logger = MetricsCSV(path)
        logger.log_metrics({"a": 7}, step=2)
        assert path.read_text() == "step,a\n1,1.0\n2,7.0\n"

    @pytest.mark.parametrize(
        "content", [b"\xff\0\n\xfe", b"a,b\n1,2\n", b"step,a\nx,2\n", b"step,a\n,2\n"]
    )
    def test_a_file_that_is_no_runs(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "metrics.csv").write_bytes(content)
        with pytest.raises(StorageError, match=r"metrics\.csv: (is damaged|holds no metrics)"):
            MetricsCSV(tmp_path / "metrics.csv")
        assert (tmp_path / "metrics.csv").read_bytes() == content

    def test_rewind(self, tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        logger = MetricsCSV(path)
        for step in range(1, 6):
            logger.log_metrics({"a": step}, step=step)
        logger.rewind(3)
        logger.log_metrics({"a": 40}, step=4)
        assert [(r["step"], r["a"]) for r in rows_of(path)] == [
            ("1", "1.0"),
            ("2", "2.0"),
            ("3", "3.0"),
            ("4", "40.0"),
        ]

    def test_nowhere_to_write(self, tmp_path: Path) -> None:
        logger = MetricsCSV(tmp_path / "gone" / "metrics.csv")
        with pytest.raises(StorageError, match=r"metrics\.csv: cannot be written"):
            logger.log_metrics({"a": 1}, step=1)

    def test_with_a_trainer(self, run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
        path = tmp_path / "metrics.csv"
        run_steps([], steps=3, loggers=[MetricsCSV(path)])
        assert [(r["step"], r["train/kl"]) for r in rows_of(path)] == [
            (str(step), "0.25") for step in (1, 2, 3)
        ]


def test_csv_is_always_there(tmp_path: Path) -> None:
    loggers = build_loggers(LoggingConfig(), tmp_path, {"name": "a"})
    assert [type(x) for x in loggers] == [MetricsCSV]
    loggers[0].log_metrics({"a": 1.0}, step=1)
    assert (tmp_path / "metrics.csv").exists()


def test_csv_may_be_named(tmp_path: Path) -> None:
    loggers = build_loggers(LoggingConfig(loggers=["csv"]), tmp_path, {"name": "a"})
    assert [type(x) for x in loggers] == [MetricsCSV]


def test_missing_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**options: object) -> None:
        raise ModuleNotFoundError("Neither `tensorboard` nor `tensorboardX` is available")

    monkeypatch.setattr("rl4bio.callbacks.loggers.build.TensorBoardLogger", missing)
    with pytest.raises(MissingPackageError, match=r"rl4bio\[tensorboard\]"):
        build_loggers(LoggingConfig(loggers=["tensorboard"]), tmp_path, {})


def test_missing_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackageError, match=r"rl4bio\[mlflow\]"):
        build_loggers(LoggingConfig(loggers=["mlflow"]), tmp_path, {})


def test_tensorboard_has_scalars_histograms_and_texts(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    loggers = build_loggers(LoggingConfig(loggers=["tensorboard"]), tmp_path, {})
    run_steps([RewardHistogram(every=1), CompletionTable()], steps=2, loggers=loggers)
    events = accumulator.EventAccumulator(
        str(tmp_path / "tensorboard"), size_guidance={"histograms": 0}
    )
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/kl")] == [(1, 0.25), (2, 0.25)]
    assert [e.step for e in events.Histograms("reward/verdict")] == [1, 2]
    assert "completions/text_summary" in events.Tags()["tensors"]


def test_tensorboard_forgets_the_steps_that_a_resumed_run_repeats(tmp_path: Path) -> None:
    """Steps 1 to 5, then a resumed run from step 2: each step has one value, the newest."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first, last in ((1, 5), (3, 6)):
        loggers = build_loggers(LoggingConfig(loggers=["tensorboard"]), tmp_path, {})
        for logger in loggers if first > 1 else ():
            go_back(logger, first - 1)
        for step in range(first, last + 1):
            loggers[1].log_metrics({"train/loss": float(10 * first + step)}, step=step)
        loggers[1].finalize("success")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(e.step, e.value) for e in events.Scalars("train/loss")]
    assert found == [(1, 11), (2, 12), (3, 33), (4, 34), (5, 35), (6, 36)]


class Ended(MLflowRun):
    """Keeps its statuses and writes nowhere."""

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def close(self, status: str) -> None:
        self.statuses.append(status)


@pytest.mark.parametrize(("stopped", "status"), [(False, "FINISHED"), (True, "KILLED")])
def test_end_of_a_run(stopped: bool, status: str) -> None:
    run = Ended()
    with run_end([run], stopped=lambda: stopped):
        assert run.statuses == []
    assert run.statuses == [status]


@pytest.mark.parametrize(
    ("error", "status"),
    [(StorageError, "FAILED"), (KeyboardInterrupt, "KILLED"), (Terminated, "KILLED")],
)
def test_end_of_a_run_that_breaks(error: type[BaseException], status: str) -> None:
    run = Ended()
    with pytest.raises(error), run_end([run], stopped=lambda: False):
        raise error
    assert run.statuses == [status]


def test_wandb_offline_has_histograms_tables_and_no_secrets(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real offline run; its file is searched for what must and what must not be in it."""
    import wandb

    monkeypatch.setenv("MY_API_KEY", "planted-secret-1")
    arguments = ["fit", "hub_token=planted-secret-2", "data.note=planted-secret-1", "kept=here"]
    monkeypatch.setattr(sys, "argv", arguments)
    config = {"name": "toy", "note": "uses planted-secret-1", "hub_token": "planted-secret-2"}
    section = LoggingConfig(loggers=["wandb"], mode="offline")
    loggers = build_loggers(section, tmp_path, config)
    assert isinstance(loggers[1], WandbLogger)
    assert sys.argv is arguments
    callbacks = [RewardHistogram(every=1), KLMonitor(histogram_every=1), CompletionTable()]
    run_steps(callbacks, steps=2, loggers=loggers)
    wandb.finish()
    runs = list((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    wanted = (
        b"reward/verdict",
        b"histogram",
        b"kl/completion",
        b"table-file",
        b"toy",
        b"kept=here",
    )
    for _ in range(300):  # W&B's own process may still be writing when finish() returns
        content = b"".join(p.read_bytes() for p in runs[0].rglob("*") if p.is_file())
        if all(part in content for part in wanted):
            break
        time.sleep(0.1)
    assert [part for part in wanted if part not in content] == []
    assert b"planted-secret" not in content
    tables = list((runs[0] / "files" / "media" / "table").glob("completions*.json"))
    table = json.loads(tables[0].read_text())
    assert table["columns"][:4] == ["step", "question", "target", "completion"]
    assert len(table["data"]) == 4


@pytest.mark.parametrize(
    ("mode", "environment", "offline"),
    [
        ("offline", {"WANDB_API_KEY": "k"}, True),
        ("auto", {}, True),
        ("auto", {"WANDB_API_KEY": "k"}, False),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, True),
        ("online", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, False),
    ],
)
def test_wandb_mode(
    mode: str,
    environment: dict[str, str],
    offline: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_offline(mode) == offline


def test_wandb_key_in_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    file = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine other.org login a password b\n")
    assert wandb_offline("auto")
    with pytest.raises(ConfigError, match="online needs a W&B key"):
        wandb_offline("online")
    file.write_text("machine api.wandb.ai login user password b\n")
    file.chmod(0o600)
    assert not wandb_offline("auto")
    assert not wandb_offline("online")
