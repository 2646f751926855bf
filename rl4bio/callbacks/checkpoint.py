"""Saving a run, stopping it on a signal, and taking it up again."""

from __future__ import annotations

import contextlib
import logging
import random
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from rl4bio.callbacks.loggers.build import go_back
from rl4bio.callbacks.outputs import say
from rl4bio.errors import ModelError, Rl4bioError
from rl4bio.storage import (
    flatten_state,
    load_checkpoint_folder,
    save_checkpoint_folder,
    unflatten_state,
)

log = logging.getLogger("rl4bio")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(eq=False)
class RunCheckpoint(pl.Callback):
    """Writes `step-<iteration>` folders: trained weights, optimiser, counters, random states.

    The first SIGINT or SIGTERM (on any rank) lets the step finish, saves and stops; a second one
    stops at once.
    """

    folder: str
    every: int = 50
    """Training steps between checkpoints; the last step is always saved."""
    keep: int = 2
    resume_from: str | None = None
    """A checkpoint folder to continue from."""

    def __post_init__(self) -> None:
        self.signal: int | None = None
        """The signal that stopped the run, once it is saved."""
        self._caught: int | None = None
        self._handlers: dict[int, Any] = {}
        self._saved = -1

    @property
    def saved_step(self) -> int:
        """The newest step that this process has saved, or begun from; 0 = none."""
        return max(self._saved, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Restore the run, when the optimiser exists; then listen for signals."""
        if self.resume_from is not None:
            self._restore(trainer, pl_module, Path(self.resume_from))
        else:  # resumed, perhaps, but nothing was saved
            for logger in trainer.loggers:
                go_back(logger, 0)
        if threading.current_thread() is threading.main_thread():
            self._handlers = {n: signal.signal(n, self._on_signal) for n in SIGNALS}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stop = trainer.strategy.reduce_boolean_decision(self._caught is not None, all=False)
        if stop or pl_module.iteration % self.every == 0:
            self._save(trainer, pl_module)
        if stop:
            self.signal = self._caught or signal.SIGTERM
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # a stop asks for a validation otherwise
            say(trainer, f"signal {self.signal}: step {pl_module.iteration} is saved, stopping")

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self._saved != pl_module.iteration:
            self._save(trainer, pl_module)
        self._stop_listening()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep the steps that were done since the last checkpoint, where they are whole."""
        self._stop_listening()
        done = pl_module.iteration
        whole = trainer.global_step == done * getattr(pl_module, "updates_per_step", 1)
        # With several ranks the others may wait elsewhere, and would not take part.
        if not isinstance(exception, Exception) or trainer.world_size > 1 or not whole:
            return
        if done > max(self._saved, 0):
            with contextlib.suppress(Rl4bioError, OSError):
                self._save(trainer, pl_module)

    def _stop_listening(self) -> None:
        """Put the handlers back; before Lightning does the same with those around its own."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._caught is not None:
            handler = self._handlers[number]
            signal.signal(number, handler)
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt
        self._caught = number

    def _save(self, trainer: pl.Trainer, module: Any) -> None:
        self._saved = module.iteration
        memories = scorer_memories(module)  # on every rank
        if not trainer.is_global_zero:
            return
        optimizer, plain_optimizer = flatten_state(trainer.optimizers[0].state_dict())
        generators, plain_generators = flatten_state(random_states())
        save_checkpoint_folder(
            Path(self.folder),
            module.iteration,
            tensors={
                "weights": module.trainable_state(),
                "optimizer": optimizer,
                "generators": generators,
                **({} if memories is None else {"scorer": memories}),
            },
            state={
                "iteration": module.iteration,
                "draws": module.draws,
                "optimizer_steps": trainer.global_step,
                "warnings": getattr(module, "warnings", []),
                "optimizer": plain_optimizer,
                "generators": plain_generators,
            },
            keep=self.keep,
        )

    def _restore(self, trainer: pl.Trainer, module: Any, folder: Path) -> None:
        tensors, state = load_checkpoint_folder(folder)
        load_trainable(module, tensors["weights"], folder)
        if "scorer" in tensors:
            restore_memory(module, tensors["scorer"], trainer.global_rank)
        trainer.optimizers[0].load_state_dict(
            unflatten_state(tensors["optimizer"], state["optimizer"])
        )
        set_random_states(unflatten_state(tensors["generators"], state["generators"]))
        module.iteration, module.draws = state["iteration"], state["draws"]
        module.warnings = state.get("warnings", [])
        loop = trainer.fit_loop.epoch_loop
        progress = loop.manual_optimization.optim_step_progress
        progress.total.ready = progress.total.completed = state["optimizer_steps"]
        # Validation is due by the number of the step, too.
        loop.batch_progress.total.ready = loop.batch_progress.total.completed = module.iteration
        self._saved = module.iteration
        say(trainer, f"resuming from step {state['iteration']} ({folder.name}, verified)")


def scorer_memories(module: Any) -> dict[str, torch.Tensor] | None:
    """What each rank's scorer remembers, int64 [n] by rank; None where it has no memory.

    Every rank must call.
    """
    scorer: Any = getattr(module, "scorer", None)
    if not hasattr(scorer, "state_dict"):
        return None
    memories = [scorer.state_dict()]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        memories = [[]] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(memories, scorer.state_dict())
    return {f"rank{n}": torch.tensor(m, dtype=torch.int64) for n, m in enumerate(memories)}


def restore_memory(module: Any, memories: dict[str, torch.Tensor], rank: int) -> None:
    """Give the scorer its rank's memory back; that of all ranks where their number has changed."""
    scorer: Any = getattr(module, "scorer", None)
    if not hasattr(scorer, "load_state_dict"):
        return
    own = memories.get(f"rank{rank}")
    if own is None or len(memories) != module.trainer.world_size:
        own = torch.cat(list(memories.values())).unique()
    scorer.load_state_dict(own.tolist())


def load_trainable(module: Any, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Copy a checkpoint's weights into the module's trainable parameters.

    Raises:
        ModelError: names or shapes differ, as with another base model or LoRA rank.
    """
    own = module.trainable_state()
    stored = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    if stored != wanted:
        names = sorted(n for n in {*stored, *wanted} if stored.get(n) != wanted.get(n))
        first = names[0]
        raise ModelError(
            f"{folder}: {len(names)} weights do not fit the policy, first {first}: "
            f"{stored.get(first, 'absent')} in the checkpoint, {wanted.get(first, 'absent')} here; "
            "resume with the run's own config.yaml"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def random_states() -> dict[str, Any]:
    """The states of the random generators that training may use."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Put the random generators back; CUDA's only where there are as many devices."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
