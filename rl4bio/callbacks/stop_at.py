"""End a run, or a stage of one, where a metric has reached a limit."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import say
from rl4bio.sections.checks import at_least

_LOG = logging.getLogger("rl4bio")


@dataclass(eq=False)
class StopAt(pl.Callback):
    """Stops after the step in which the mean of a metric's newest values passes a limit.

    Values are those of rank 0, means over all ranks; a step without the metric, or with one that is
    not finite, adds none. What a validation gives counts once for each validation.
    """

    metric: str
    """Of a step, such as reward/total_mean, or of validation, such as val/reward/total_mean."""
    above: float | None = None
    """At least this ends it."""
    below: float | None = None
    """At most this ends it."""
    window: int = 5
    """Values whose mean is compared; fewer do not end anything."""
    min_steps: int = 1
    """Steps that are taken in any case."""

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ValueError("above: needs one limit, either above or below")
        at_least(1, window=self.window, min_steps=self.min_steps)
        self._values: deque[float] = deque(maxlen=self.window)
        self._reached = False

    def state_dict(self) -> dict[str, Any]:
        """The values in the window, and whether they have reached the goal."""
        return {"values": list(self._values), "reached": self._reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up."""
        self._values = deque(state_dict["values"], maxlen=self.window)
        self._reached = bool(state_dict["reached"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A run that is resumed at its end takes no step more."""
        if self._reached:
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Look at the step's value; a metric of validation is looked at after the validation."""
        if not self.metric.startswith("val/"):
            self._look(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """The same for a metric of validation."""
        if self.metric.startswith("val/") and not trainer.sanity_checking:
            self._look(trainer, pl_module)

    def _look(self, trainer: pl.Trainer, module: Any) -> None:
        value = float(trainer.callback_metrics.get(self.metric, math.nan))
        if math.isfinite(value):
            self._values.append(value)
        full = len(self._values) == self.window and module.iteration >= self.min_steps
        mean = math.fsum(self._values) / self.window
        passed = mean >= self.above if self.above is not None else mean <= (self.below or 0.0)
        self._reached = trainer.strategy.broadcast(full and passed, 0)
        if self._reached:
            trainer.should_stop = True
            message = f"stop_at: {self.metric} is {mean:.4g} at step {module.iteration}; the end"
            _LOG.info(message)
            say(trainer, message)
