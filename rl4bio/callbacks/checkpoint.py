"""Saving a run, stopping it on a signal, and taking it up again."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from rl4bio.callbacks.checkpoint_state import (
    collect,
    rank_generators,
    readable,
    restore,
    set_random_states,
)
from rl4bio.callbacks.loggers.build import MetricsCSV
from rl4bio.callbacks.outputs import say
from rl4bio.errors import Rl4bioError
from rl4bio.process.signals import ENDING, LISTENER
from rl4bio.storage import load_checkpoint_folder, save_checkpoint_folder, unflatten_state


@dataclass(eq=False)
class RunCheckpoint(pl.Callback):
    """Writes `step-<iteration>` folders: trained weights, optimiser, counters, random states.

    A step is saved when everything of it is written, its validation included: before the next one
    begins, or at the end by `last`. It stands before all other callbacks, `last` behind them.

    The first signal (on any rank) lets the step finish, saves and stops; during a validation on one
    rank it stops at once, and the resumed run validates first.
    """

    folder: str
    every: int = 50
    """Training steps between checkpoints; the last step is always saved."""
    keep: int = 2
    resume_from: str | None = None
    """A checkpoint folder to continue from."""
    deadline_s: float = 0.0
    """From a signal until a process leaves whose step does not end; 0 = none."""
    run: str = ""
    """Identity of the run, which its checkpoints carry."""

    def __post_init__(self) -> None:
        self.signal: int | None = None
        """The signal that stopped the run, once it is saved."""
        self.last = LastSave(self)
        self._listening = contextlib.ExitStack()
        self._saved = -1
        self._validated = -1
        self._validating = False
        self._validates = False
        self._pending: dict[str, Any] | None = None
        """What a resumed run still has to do before its first step."""

    @property
    def saved_step(self) -> int:
        """The newest step that this process has saved, or begun from; 0 = none."""
        return max(self._saved, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Restore the run, when the optimiser exists; then listen for signals."""
        if self.resume_from is not None:
            folder = Path(self.resume_from)
            tensors, state = load_checkpoint_folder(folder)
            restore(trainer, pl_module, tensors, state, folder)
            with readable(folder):
                generators = unflatten_state(tensors["generators"], state["generators"])
                self._pending = {
                    "generators": rank_generators(generators, trainer.global_rank),
                    "validation": bool(state.get("validation_due", False)),
                }
            self._saved = self._validated = pl_module.iteration
            say(trainer, f"resuming from step {state['iteration']} ({folder.name}, verified)")
        self._validates = bool(trainer.limit_val_batches)
        self._listening.enter_context(LISTENER.listening(ENDING))
        LISTENER.wait_for_edge(self.deadline_s)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the step before this one; a resumed run first goes to where it was."""
        self.catch_up(trainer, pl_module)
        done = pl_module.iteration
        if done and done % self.every == 0 and done != self._saved:
            self.save(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop all ranks together where one has caught a signal."""
        caught = torch.tensor(float(LISTENER.caught or 0), device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(caught, reduce_op="max"))
        if number:
            self.signal = LISTENER.caught or number
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # a stop asks for a validation otherwise

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A signal need not wait for the validation; several ranks leave together at a step."""
        self._validating = trainer.state.fn == "fit" and trainer.world_size == 1
        if self._validating:
            LISTENER.raise_at_once()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Signals wait for the end of a step again."""
        if trainer.state.fn == "fit":
            LISTENER.wait_for_edge(self.deadline_s)
            self._validating, self._validated = False, pl_module.iteration

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep the steps that were done since the last checkpoint, where they are whole."""
        done = pl_module.iteration
        whole = trainer.global_step == done * pl_module.updates_per_step
        whole = whole and not pl_module.updating
        between = isinstance(exception, Exception) or self._validating
        # With several ranks the others may wait elsewhere, and would not take part.
        alone = trainer.world_size == 1 and Path(self.folder).is_dir()  # it may have been moved
        if between and alone and whole and done > max(self._saved, 0):
            with contextlib.suppress(Rl4bioError, OSError):
                self.save(trainer, pl_module)
        self.stop_listening()

    def stop_listening(self) -> None:
        """Put the handlers back; before Lightning does the same with those around its own."""
        self._listening.close()

    def catch_up(self, trainer: pl.Trainer, module: Any) -> None:
        """The generators of the step that is resumed from, and its validation if it had none."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        if pending["generators"] is not None:
            set_random_states(pending["generators"])
        if pending["validation"] and self._validates:
            connector = trainer._logger_connector
            first = connector._first_loop_iter
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
            connector._first_loop_iter = first

    def save(self, trainer: pl.Trainer, module: Any) -> None:
        """Write the last step's checkpoint; on every rank."""
        with LISTENER.whole():
            self._saved = module.iteration
            due = self._validation_due(trainer, module)
            found = collect(trainer, module, validation_due=due, run=self.run)
            if found is None:
                return
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCSV):
                    logger.sync()
            tensors, state = found
            save_checkpoint_folder(
                Path(self.folder), module.iteration, tensors=tensors, state=state, keep=self.keep
            )

    def _validation_due(self, trainer: pl.Trainer, module: Any) -> bool:
        """Whether the last step has a validation that was not done."""
        every, done = trainer.val_check_batch, module.iteration
        if not self._validates or not isinstance(every, int):
            return False
        return bool(done % every == 0 and self._validated != done)


class LastSave(pl.Callback):
    """Saves the last step behind all callbacks that still write something of it."""

    def __init__(self, checkpoint: RunCheckpoint) -> None:
        self.checkpoint = checkpoint

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Save the last step, and say which signal stopped the run."""
        checkpoint, step = self.checkpoint, pl_module.iteration
        if step and checkpoint.saved_step != step:
            checkpoint.save(trainer, pl_module)
        if checkpoint.signal is not None:
            number = signal.Signals(checkpoint.signal)
            say(trainer, f"signal {number.value}: step {step} is saved, stopping")
        checkpoint.stop_listening()


def was_interrupted(trainer: pl.Trainer) -> bool:
    """Whether a signal has stopped the run."""
    own: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return any(isinstance(one, RunCheckpoint) and one.signal is not None for one in own)
