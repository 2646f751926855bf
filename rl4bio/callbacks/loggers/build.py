"""Where metrics go: metrics.csv always; W&B, MLflow and TensorBoard by request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from rl4bio.callbacks.loggers.mlflow_run import MLflowRun
from rl4bio.callbacks.loggers.wandb_run import WandbRun, end_wandb, start_wandb
from rl4bio.errors import MissingPackageError, StorageError
from rl4bio.files.delimited import csv_text, written_rows
from rl4bio.sections import LoggingConfig
from rl4bio.storage.files import storage_errors, sync_file, write_atomic


class MetricsCSV(Logger):
    """One row a step in a CSV file, on the disk (as far as the process can tell) at once.

    Metrics logged for the step of the last row join that row. A new metric adds a column at the
    end, for which the file is rewritten in one piece. A file that is there is continued.

    Args:
        path: the file; made at the first row.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = []
        self._last: dict[str, str] = {}
        self._last_start = 0
        if path.exists():
            rows = self._read()
            self._rewrite(rows)

    @property
    def name(self) -> str:
        """As Lightning asks for one; no folder is named after it."""
        return "metrics"

    @property
    def version(self) -> str:
        """None: there is one file."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run folder has config.yaml already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add the metrics of a step.

        Raises:
            StorageError: the file cannot be written.
        """
        new = {name: repr(float(value)) for name, value in metrics.items()}
        same = self._last.get("step") == str(step)
        row = {**(self._last if same else {"step": str(step)}), **new}
        columns = [*self._columns, *(name for name in row if name not in self._columns)]
        if columns != self._columns:
            rows = self._read()
            self._columns = columns
            self._rewrite([*(rows[:-1] if same else rows), row])
            return
        with storage_errors(self.path), self.path.open("r+b") as stream:
            if same:
                stream.seek(self._last_start)
                stream.truncate()
            else:
                self._last_start = stream.seek(0, os.SEEK_END)
            stream.write(self._text([row]).encode())
        self._last = row

    @property
    def newest(self) -> int:
        """The step of the last row; 0 where there is none."""
        return int(self._last.get("step", 0))

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Drop the rows after a step, which a resumed run is about to repeat."""
        if self.path.exists():
            self._rewrite([row for row in self._read() if int(row["step"]) <= step])

    @rank_zero_only
    def sync(self) -> None:
        """Force the rows to the disk, before a checkpoint says that their steps are done."""
        if self.path.exists():
            with storage_errors(self.path):
                sync_file(self.path)

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        header, rows = written_rows(self.path)
        if not all((row.get("step") or "").isdecimal() for row in rows):
            raise StorageError(f"{self.path}: holds no metrics of a run; move it away")
        self._columns = header or ["step"]
        return [{name: cell for name, cell in row.items() if cell} for row in rows]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = self._text(rows, header=True)
        write_atomic(self.path, text)
        self._last = rows[-1] if rows else {}
        last = self._text(rows[-1:])
        self._last_start = len(text.encode()) - len(last.encode())

    def _text(self, rows: list[dict[str, str]], *, header: bool = False) -> str:
        cells = [[row.get(name, "") for name in self._columns] for row in rows]
        return csv_text([self._columns, *cells] if header else cells)


def go_back(logger: Logger, step: int, sent_to: int = 0) -> None:
    """Have a logger forget what comes after a step, which a resumed run is about to repeat.

    metrics.csv drops the rows; TensorBoard hides the older values. W&B and MLflow keep what they
    have: the steps that they got are not sent again.

    Args:
        logger: of the run.
        step: the run goes on behind it.
        sent_to: the last step that was logged before.
    """
    if isinstance(logger, MetricsCSV):
        logger.rewind(step)
    elif isinstance(logger, WandbRun | MLflowRun):
        logger.sent_to = sent_to
    elif isinstance(logger, TensorBoardLogger):
        logger._kwargs.setdefault("purge_step", step + 1)


def build_loggers(
    config: LoggingConfig, run_dir: Path, run_config: Mapping[str, Any]
) -> list[Logger]:
    """The loggers of a run; metrics.csv comes first.

    Args:
        config: the `logging` section.
        run_dir: the run's folder.
        run_config: the resolved configuration, shown in W&B and MLflow with its secrets masked.

    Raises:
        MissingPackageError: a logger's package is not installed.
        ConfigError: W&B is asked to be online and has no key, or MLflow's store cannot be used.
    """
    loggers: list[Logger] = [MetricsCSV(run_dir / "metrics.csv")]
    if "tensorboard" in config.loggers:
        loggers.append(_tensorboard(run_dir))
    if "wandb" in config.loggers:
        watched = start_wandb(config, run_dir, run_config)
        loggers += [] if watched is None else [watched]
    if "mlflow" in config.loggers:
        loggers.append(_mlflow(config, run_dir, run_config))
    return loggers


@contextmanager
def run_end(loggers: Sequence[Logger], *, stopped: Callable[[], bool]) -> Iterator[None]:
    """Around training and what follows it: tells W&B and MLflow how the run ended.

    MLflow gets the run's files, too.

    Args:
        loggers: of the run.
        stopped: whether the run ended early because of a signal.
    """
    runs = [logger for logger in loggers if isinstance(logger, MLflowRun)]
    watched = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    status = "KILLED"  # Ctrl-C and SIGTERM are no Exception
    try:
        yield
        status = "KILLED" if stopped() else "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        for run in runs:
            run.close(status)
        for logger in watched:
            end_wandb(logger, status)


def _tensorboard(run_dir: Path) -> Logger:
    try:
        return TensorBoardLogger(save_dir=str(run_dir), name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "logging.loggers: tensorboard is not installed; run `pip install "
            "'rl4bio[tensorboard]'`, or leave it out"
        ) from error


def _mlflow(config: LoggingConfig, run_dir: Path, run_config: Mapping[str, Any]) -> Logger:
    try:
        run = MLflowRun(
            run_dir,
            run_config,
            experiment=config.project,
            uri=config.mlflow_uri,
            tags=config.mlflow_tags,
            with_model=config.mlflow_model,
        )
        run.start()
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "logging.loggers: mlflow is not installed; run `pip install 'rl4bio[mlflow]'`, or "
            "leave it out"
        ) from error
    return run
