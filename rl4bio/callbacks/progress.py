"""Progress in numbers that mean something: reward, KL, length, time left."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar

from rl4bio.callbacks.outputs import step_of
from rl4bio.types import Rollout, Scores


@dataclass(eq=False)
class RewardProgressBar(ProgressBar):
    """One line that is redrawn in a terminal, and a plain line every few steps in a log file.

    It shows no loss: with fresh samples the policy loss is about 0 whatever the model learns.
    """

    every: int = 10
    """Steps between lines where the output is no terminal."""

    def __post_init__(self) -> None:
        super().__init__()
        if self.every < 1:
            raise ValueError(f"every: got {self.every}, needs at least 1")
        self._enabled = True
        self._drawn = False
        self._started = 0.0
        self._start_step = 0

    @property
    def is_enabled(self) -> bool:
        return self._enabled

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        self._clear()
        print(*args, **kwargs, flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed run starts it at its own step."""
        self._started = time.monotonic()
        self._start_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Redraw, or write a line."""
        if not self._enabled:
            return
        terminal = sys.stderr.isatty()
        step = step_of(trainer, pl_module)
        if not terminal and step % self.every and step != 1:
            return
        line = self.line(trainer, pl_module, outputs or {})
        if terminal:
            sys.stderr.write(f"\r\x1b[2K{line}")
            self._drawn = True
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def line(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> str:
        """One line: step 12/500 · 0:01:10 left · reward 0.412 · kl 0.0031 · 187 tokens · ....

        The step counts optimiser steps, as `trainer.max_steps` does. The KL is shown where there is
        a reference.
        """
        done, planned = trainer.global_step, trainer.max_steps
        shown = [f"step {done}/{planned}" if planned > 0 else f"step {done}"]
        fresh = done - self._start_step
        if planned > 0 and fresh > 0:
            left = (time.monotonic() - self._started) / fresh * max(planned - done, 0)
            shown.append(f"{clock(left)} left")
        if "rollout" in outputs:
            shown += rollout_summary(outputs["rollout"], outputs["scores"])
            if getattr(outputs.get("experience"), "ref_logprobs", None) is not None:
                shown.insert(-2, f"kl {float(outputs['loss_terms'].kl):.4f}")
        elif (loss := trainer.callback_metrics.get("train/loss")) is not None:
            shown.append(f"loss {float(loss):.4f}")
        return " · ".join(shown)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._drawn:
            sys.stderr.write("\n")
            self._drawn = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar's line, so that the error starts on its own."""
        self.on_train_end(trainer, pl_module)

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def rollout_summary(rollout: Rollout, scores: Scores) -> list[str]:
    """Mean reward, mean completion length, and the share of groups whose rewards are all equal."""
    mean = float(scores.total.nanmean())
    reward = "reward none" if math.isnan(mean) else f"reward {mean:.3f}"
    tokens = float(rollout.completion_mask.sum(dim=1).float().mean())
    groups = scores.total.float().view(-1, rollout.group_size)
    filled = torch.where(groups.isnan(), groups.nanmean(dim=1, keepdim=True), groups)
    spread = filled.amax(dim=1) - filled.amin(dim=1)
    equal = float((~(spread > 1e-6)).float().mean())
    return [reward, f"{tokens:.0f} tokens", f"{equal:.0%} equal groups"]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 3725.2 -> 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
