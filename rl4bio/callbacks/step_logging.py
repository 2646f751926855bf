"""Which training steps loggers get: every n-th by its number, and the last one always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.checkpoint import was_interrupted
from rl4bio.callbacks.outputs import step_of
from rl4bio.callbacks.progress import planned_steps
from rl4bio.sections.checks import at_least


@dataclass(eq=False)
class StepLogging(pl.Callback):
    """Decides for each step whether it is logged, in place of Lightning's count of batches.

    That count starts anew in a resumed run and has no place for the last step. It stands behind the
    callbacks that log or stop the run.
    """

    every: int = 1
    """Steps between logged ones."""

    def __post_init__(self) -> None:
        at_least(1, every=self.every)
        self._logged = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Let Lightning log this step, or not."""
        step = step_of(trainer, pl_module)
        # A run that a signal has stopped goes on; it must not have a row more for that.
        stopped = trainer.should_stop and not was_interrupted(trainer)
        last = stopped or step == planned_steps(trainer, pl_module)
        due = last or step % self.every == 0
        trainer.log_every_n_steps = int(due)  # type: ignore[attr-defined]  # 0 = no step
        if due:
            self._logged = step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A step that only its validation made the last one (early stopping) is logged now."""
        if was_interrupted(trainer):
            return
        step = step_of(trainer, pl_module)
        known = {k: float(v) for k, v in trainer.callback_metrics.items() if k[:4] != "val/"}
        known.pop("step", None)
        if self._logged < step and known:
            for logger in trainer.loggers:
                logger.log_metrics(known, step=step)
                logger.save()
