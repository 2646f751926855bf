"""The page of a run while it trains: the same report, written anew now and then."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import step_of
from rl4bio.callbacks.progress import planned_steps
from rl4bio.config.load import config_dict
from rl4bio.errors import StorageError
from rl4bio.reports.run.report import run_report, write_run_report
from rl4bio.runs.finish import read_metrics, summarize_run
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder

log = logging.getLogger("rl4bio")

REFRESH_S = 30
"""After which an open page reads itself again."""


class LivePage(pl.Callback):
    """Writes report.html every so many steps, without structures of molecules, which take long.

    The last page of a run replaces it. A page that cannot be written is said once, and the run
    goes on.

    Args:
        config: of the run.
        folder: of the run.
        every: steps between pages.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, every: int) -> None:
        self.config, self.folder, self.every = config, folder, every
        self._started = time.monotonic()
        self._failed = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Write the page of the steps that are logged by now."""
        step = step_of(trainer, pl_module)
        if not trainer.is_global_zero or step % self.every or self._failed:
            return
        rows = read_metrics(self.folder.metrics)
        if not rows:
            return
        seconds = time.monotonic() - self._started
        try:
            page = run_report(
                title=f"{self.config.name}: step {step} of {planned_steps(trainer, pl_module)}",
                config=config_dict(self.config),
                summary=summarize_run(self.config, self.folder, pl_module, seconds=seconds),  # type: ignore[arg-type]
                metrics=rows,
                completions=self.folder.completions,
                refresh_s=REFRESH_S,
            )
            write_run_report(self.folder.report, page)
        except (OSError, StorageError) as error:
            self._failed = True
            log.warning("the live page cannot be written (%s); the run goes on without it", error)
