"""Callbacks that look at what a training step of GRPO has made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import step_of
from rl4bio.types import Experience, LossTerms, Rollout, Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished step of this rank: what `GRPOLightningModule.training_step` returns."""

    number: int
    """From 1; several optimiser updates may belong to one."""
    rollout: Rollout
    scores: Scores
    experience: Experience | None = None
    loss_terms: LossTerms | None = None


class StepCallback(pl.Callback):
    """Calls `on_step` after every step with a rollout, and `on_other_step` after any other."""

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """A step of GRPO has ended. Every rank calls this, with its own rows."""

    def on_other_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A step without a rollout has ended, as those of SFT are."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Lightning's hook."""
        if not outputs or outputs.get("rollout") is None:
            self.on_other_step(trainer, pl_module)
            return
        step = Step(
            number=step_of(trainer, pl_module),
            rollout=outputs["rollout"],
            scores=outputs["scores"],
            experience=outputs.get("experience"),
            loss_terms=outputs.get("loss_terms"),
        )
        self.on_step(trainer, pl_module, step)
