"""Go back to the weights of the best validation; stop a run when it no longer improves."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from rl4bio.callbacks.checkpoint import was_interrupted
from rl4bio.callbacks.outputs import say
from rl4bio.errors import ConfigError, ModelError, NonFiniteError
from rl4bio.registry import did_you_mean
from rl4bio.sections.checks import at_least
from rl4bio.storage import load_checkpoint_folder, save_checkpoint_folder

_LOG = logging.getLogger("rl4bio")

FOLDER = "best"
"""Beside checkpoints/: the best weights so far, for a run that is resumed."""


class BestValidation(pl.Callback):
    """Keeps the weights of the best validation, and puts them back at the end.

    Means are logged on rank 0 alone, where Lightning's own callbacks ask every rank; so rank 0
    decides here and tells the others. The last checkpoint keeps the weights of the last step, so
    that a resumed run continues where it was.
    """

    NAME: ClassVar[str]
    metric: str
    mode: Literal["min", "max"]
    patience: int = sys.maxsize
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max"):
            raise ValueError(f"mode: got {self.mode!r}, needs min or max")
        at_least(1, patience=self.patience)
        if not (self.min_delta >= 0 and math.isfinite(self.min_delta)):
            raise ValueError(f"min_delta: got {self.min_delta}, needs a number of at least 0")
        self.best: float | None = None
        self.best_step = 0
        self.waited = 0
        """Validations since the best one."""
        self._stopped = False
        self._taken_up = False
        self._weights: dict[str, Tensor] = {}
        self._earlier: dict[str, Any] | None = None
        """What a checkpoint says of the validations before it."""

    def state_dict(self) -> dict[str, Any]:
        """What the validations so far have found."""
        return {
            "metric": self.metric,
            "best": self.best,
            "best_step": self.best_step,
            "waited": self.waited,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training begins, which takes it up."""
        self._earlier = state_dict

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuse a run that does not validate."""
        if trainer.limit_val_batches == 0:
            raise ConfigError(
                f"trainer.val_every_steps: is 0, so callback {self.NAME} has nothing to compare; "
                "set it to a number of steps"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start anew."""
        self.best, self.best_step, self.waited = None, 0, 0
        self._stopped, self._taken_up, self._weights = False, False, {}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Where a run is resumed, take up its best, and stop at once if it was over.

        Not in `on_train_start`, in which the checkpoint puts the module's step back.
        """
        self._take_up(trainer, pl_module)
        self._stop_if_over(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """The same for a run that was resumed at its last step."""
        self._take_up(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Compare with the best, and stop where patience has run out."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._take_up(trainer, pl_module)
        value = trainer.strategy.broadcast(self._read(trainer), 0)
        if not math.isfinite(value):
            raise NonFiniteError(
                f"{self.metric} is {value} at step {pl_module.iteration}, so {self.NAME} cannot "
                "compare it; is the validation split empty (data.options), or optim.lr too high?"
            )
        if self._improves(value):
            self.best, self.best_step, self.waited = value, pl_module.iteration, 0
            self._keep(trainer, pl_module)
        else:
            self.waited += 1
        self._stop_if_over(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Put the best weights back, after the last checkpoint is written; say what happened."""
        if was_interrupted(trainer) or self.best is None:
            return
        last = pl_module.iteration
        if self.restore_best and self._weights:
            with torch.no_grad():
                for name, parameter in pl_module.trainable_state().items():
                    parameter.copy_(self._weights[name])
        why = (
            f"no better {self.metric} in {self.waited} validations" if self._stopped else "the end"
        )
        kept = "whose weights are the result" if self.restore_best else "not put back"
        message = (
            f"{self.NAME}: stopped at step {last} ({why}); best {self.metric} {self.best:.4g} "
            f"at step {self.best_step}, {kept}"
        )
        _LOG.info(message)
        say(trainer, message)

    def _stop_if_over(self, trainer: pl.Trainer) -> None:
        if self.waited >= self.patience:
            self._stopped = trainer.should_stop = True

    def _read(self, trainer: pl.Trainer) -> float:
        """The metric on rank 0; other ranks are told.

        Raises:
            ConfigError: the validation does not log it.
        """
        known = trainer.callback_metrics
        if not trainer.is_global_zero:
            return math.nan
        if self.metric not in known:
            raise ConfigError(
                f"callbacks: {self.NAME} has no metric {self.metric!r}"
                f"{did_you_mean(self.metric, known)}; validation logs "
                f"{', '.join(sorted(n for n in known if n.startswith('val/'))) or 'nothing'}"
            )
        return float(known[self.metric])

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        gain = self.best - value if self.mode == "min" else value - self.best
        return gain > self.min_delta

    def _keep(self, trainer: pl.Trainer, module: Any) -> None:
        self._weights = {n: t.to("cpu", copy=True) for n, t in module.trainable_state().items()}
        if trainer.is_global_zero:
            save_checkpoint_folder(
                Path(trainer.default_root_dir) / FOLDER,
                self.best_step,
                tensors={"weights": self._weights},
                state={
                    "metric": self.metric,
                    "value": self.best,
                    "iteration": self.best_step,
                },
                keep=2,
            )

    def _take_up(self, trainer: pl.Trainer, module: Any) -> None:
        """Find an interrupted run's best validation up to the step that it is resumed from.

        The best of a later step belongs to steps that are done again.
        """
        if self._taken_up:
            return
        self._taken_up = True
        earlier = self._earlier or {}
        known = earlier.get("metric") == self.metric and module.iteration > 0
        folders = (Path(trainer.default_root_dir) / FOLDER).glob("step-*")
        for folder in sorted(folders, reverse=True) if module.iteration else ():
            try:
                tensors, state = load_checkpoint_folder(folder)
            except ModelError as error:
                _LOG.warning("%s", error)
                continue
            if state["iteration"] <= module.iteration and state["metric"] == self.metric:
                if known and state["iteration"] != earlier["best_step"]:
                    continue
                self.best, self.best_step = state["value"], state["iteration"]
                every = trainer.val_check_batch or 1
                self.waited = int((module.iteration - self.best_step) // every)
                self._weights = tensors["weights"]
                break
        if known:
            self.best, self.best_step = earlier["best"], earlier["best_step"]
            self.waited = earlier["waited"]


@dataclass(eq=False)
class EarlyStopping(BestValidation):
    """Stops after `patience` validations without improvement; the best weights are the result."""

    NAME: ClassVar[str] = "early_stopping"

    metric: str = "val/loss"
    mode: Literal["min", "max"] = "min"
    """Whether less or more of the metric is better."""
    patience: int = 3
    """Validations in a row without improvement."""
    min_delta: float = 0.0
    """A change of the metric that is no more than this is no improvement."""
    restore_best: bool = True
    """Put the weights of the best validation back before the model is saved."""


@dataclass(eq=False)
class KeepBest(BestValidation):
    """The weights of the best validation are the result; the run goes on to its last step."""

    NAME: ClassVar[str] = "keep_best"

    metric: str = "val/reward_mean"
    mode: Literal["min", "max"] = "max"
    """Whether less or more of the metric is better."""
