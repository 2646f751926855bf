"""A run in MLflow: parameters, metrics, tables, files and how it ended."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

import rl4bio
from rl4bio.callbacks.loggers.masking import mask_text, masked
from rl4bio.callbacks.loggers.mlflow_store import (
    error_reason,
    is_remote,
    load_mlflow,
    local_uri,
    open_run,
)
from rl4bio.callbacks.loggers.mlflow_values import best_molecules, flat_params, mlflow_key
from rl4bio.errors import ConfigError
from rl4bio.text.redaction import mask_secrets, visible

_LOG = logging.getLogger(__name__)

FILES = ("metrics.csv", "molecules.csv", "summary.json", "report.html", "README.md")
"""Of the run folder, stored when the run ends, where they exist."""
BEST_MOLECULES = 200
_MAX_PARAMS_PER_BATCH = 100
_MAX_METRICS_PER_BATCH = 1000
_MAX_WAITING_METRICS = 200_000
_PAUSE_S = 60.0


class MLflowRun(Logger):
    """One run of an MLflow experiment, continued by a resumed run. Only rank 0 writes.

    A store that stops answering costs a warning: metrics wait for it, training does not, and
    metrics.csv has everything.

    Args:
        run_dir: the run's folder; remembers the run's id in mlflow.json.
        config: the resolved configuration; its secrets are masked before anything is sent.
        experiment: made where it does not exist.
        uri: of the store; None = MLFLOW_TRACKING_URI, otherwise mlflow.db in the run's folder.
        tags: of the run.
        with_model: store `adapter/` or `model/` too.
    """

    def __init__(
        self,
        run_dir: Path,
        config: Mapping[str, Any],
        *,
        experiment: str = "rl4bio",
        uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        with_model: bool = False,
    ) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.config = dict(config)
        self.experiment_name = experiment
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(run_dir)
        self.tags = dict(tags or {})
        self.with_model = with_model
        self.run_id = ""
        self._client: Any = None
        self._waiting: deque[Any] = deque(maxlen=_MAX_WAITING_METRICS)
        self._retry_at = 0.0
        self._warned = False
        self.sent_to = 0
        """Steps up to this one were sent before the run was taken up again."""

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment_name

    @property
    def version(self) -> str:
        """The id of the run."""
        return self.run_id

    @rank_zero_only
    def start(self) -> None:
        """Begin the run, or take it up again, and send the configuration.

        A server that cannot be reached is replaced by mlflow.db in the run's folder.

        Raises:
            ConfigError: the store cannot be used.
            ModuleNotFoundError: mlflow is not installed.
        """
        load_mlflow()
        try:
            self._open()
        except ConfigError:
            raise
        except Exception as error:
            if not is_remote(self.uri):
                raise ConfigError(
                    f"logging.mlflow_uri: {mask_secrets(self.uri)} cannot be used "
                    f"({error_reason(error)}); give another one, or leave mlflow out of "
                    "logging.loggers"
                ) from error
            local = local_uri(self.run_dir)
            _LOG.warning(
                "MLflow at %s cannot be used (%s); writing to %s instead",
                mask_secrets(self.uri),
                error_reason(error),
                local,
            )
            self.uri = local
            self._open()

    def _open(self) -> None:
        from mlflow.entities import Param

        shown = masked(self.config)
        tags = {
            "mlflow.source.name": "rl4bio",
            "task": str(shown.get("task", "")),
            "base": str((shown.get("policy") or {}).get("checkpoint", "")),
            "seed": str(shown.get("seed", "")),
            "version": rl4bio.__version__,
            **{mlflow_key(key): mask_secrets(str(value)) for key, value in self.tags.items()},
        }
        self._client, self.run_id = open_run(
            self.uri,
            self.run_dir,
            experiment=self.experiment_name,
            name=str(shown.get("name", self.run_dir.name)),
            tags={key: value for key, value in tags.items() if value},
        )
        text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
        self._client.log_text(self.run_id, text, "config.yaml")
        # A parameter cannot change: where a resumed run has another value the first one stays.
        known = self._client.get_run(self.run_id).data.params
        new = [Param(key, v) for key, v in flat_params(shown).items() if key not in known]
        for start in range(0, len(new), _MAX_PARAMS_PER_BATCH):
            batch = new[start : start + _MAX_PARAMS_PER_BATCH]
            self._client.log_batch(self.run_id, params=batch)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration is sent at the start."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send the metrics of a step, with those that had to wait."""
        if step is not None and step <= self.sent_to:
            return
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._waiting.extend(
            Metric(mlflow_key(name), float(value), now_ms, step or 0)
            for name, value in metrics.items()
        )
        self._send(self._send_waiting)

    def _send_waiting(self) -> None:
        while batch := list(islice(self._waiting, _MAX_METRICS_PER_BATCH)):
            self._client.log_batch(self.run_id, metrics=batch)
            for _ in batch:
                self._waiting.popleft()

    @rank_zero_only
    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows to the table `<name>.json`; control characters of texts become visible."""
        self._send(self._send_table, name, columns, rows)

    def _send_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        cells = [[visible(v) if isinstance(v, str) else v for v in row] for row in rows]
        table = {column: [row[n] for row in cells] for n, column in enumerate(columns)}
        self._client.log_table(self.run_id, table, f"{mlflow_key(name)}.json")

    def log_picture(self, name: str, picture: Any) -> None:
        """Add a PIL image to the run's files."""
        self._send(self._client.log_image, self.run_id, picture, name)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The Trainer has ended; `close` corrects the status once it is known how."""
        self._end("FAILED" if status == "failed" else "FINISHED")

    @rank_zero_only
    def close(self, status: str) -> None:
        """Send the run's files and its last word: FINISHED, FAILED or KILLED."""
        self._retry_at = 0.0
        for path in (self.run_dir / name for name in FILES):
            if path.is_file():
                self._send(self._send_file, path)
        molecules = self.run_dir / "molecules.csv"
        if status == "FINISHED" and molecules.is_file():
            self._send(self._send_molecules, molecules)
        for folder in ("adapter", "model"):
            if status == "FINISHED" and self.with_model and (self.run_dir / folder).is_dir():
                source = str(self.run_dir / folder)
                self._send(self._client.log_artifacts, self.run_id, source, folder)
        self._end(status)

    def _send_file(self, path: Path) -> None:
        if path.suffix == ".csv":
            self._client.log_artifact(self.run_id, str(path))
        else:
            text = mask_text(path.read_text("utf-8"), self.config)
            self._client.log_text(self.run_id, text, path.name)

    def _send_molecules(self, path: Path) -> None:
        columns, rows, step = best_molecules(path, BEST_MOLECULES)
        if rows:
            # A run that goes on after its end gets a second table: rows cannot be replaced.
            self._send_table(f"best_molecules_step_{step}", columns, rows)

    def _end(self, status: str) -> None:
        self._send(self._send_waiting)
        self._retry_at = 0.0
        self._send(self._client.set_terminated, self.run_id, status)

    def _send(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call the store; after a failure the next calls are left out for a while."""
        if time.monotonic() < self._retry_at:
            return
        started = time.monotonic()
        try:
            call(*arguments)
        except Exception as error:  # MLflow's own and those of files, databases and sockets
            took = time.monotonic() - started
            # Waiting for a server that hangs may slow training by a twentieth at most.
            self._retry_at = time.monotonic() + max(_PAUSE_S, 20 * took)
            if not self._warned:
                self._warned = True
                _LOG.warning(
                    "MLflow at %s does not answer (%s); training goes on, metrics wait for it",
                    mask_secrets(self.uri),
                    error_reason(error),
                )
