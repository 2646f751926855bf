"""Progress in numbers that mean something: reward, KL, length, time gone and time left."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar

from rl4bio.callbacks.call_budget import ledger_of
from rl4bio.callbacks.outputs import step_of
from rl4bio.callbacks.progress_line import LinePart, ProgressLine, clock
from rl4bio.sections.checks import at_least
from rl4bio.types import Experience, Rollout, Scores


@dataclass(eq=False)
class RewardProgressBar(ProgressBar):
    """One line that is redrawn in a terminal, and a plain line every few steps elsewhere.

    It shows no loss: with fresh samples the policy loss is about 0 whatever the model learns.
    """

    every: int = 10
    """Steps between lines where the output is no terminal; the first and the last are written."""

    def __post_init__(self) -> None:
        super().__init__()
        at_least(1, every=self.every)
        self._enabled = True
        self._screen = ProgressLine()
        self._started = 0.0
        self._before: int | None = None
        """Steps that were done before this process; known at its first one."""
        self._calls_before = 0
        """Molecules that were scored before this process, where there is a budget of them."""
        self._written = -1

    @property
    def is_enabled(self) -> bool:
        """Whether lines are drawn."""
        return self._enabled

    def enable(self) -> None:
        """Lightning's hook: the first process draws."""
        self._enabled = True

    def disable(self) -> None:
        """Lightning's hook: the others do not."""
        self._enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the line."""
        with self._screen.aside():
            print(*args, **kwargs, flush=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Another run begins."""
        self._screen, self._before, self._written = ProgressLine(sys.stderr), None, -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock with the first step; by now a resumed run knows where it is."""
        if self._before is not None:
            return
        self._started, self._before = time.monotonic(), step_of(trainer, pl_module)
        ledger = ledger_of(pl_module)
        self._calls_before = 0 if ledger is None else len(ledger.calls)
        if self._enabled and self._screen.redraws:
            self._screen.draw(self.parts(trainer, pl_module, {}))

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
        step, planned = step_of(trainer, pl_module), planned_steps(trainer, pl_module)
        parts = self.parts(trainer, pl_module, outputs or {})
        done = step / planned if planned else None
        self._screen.keep(parts, done)
        if self._screen.redraws:
            self._screen.draw(parts, done)
        elif step % self.every == 0 or step == 1 or step == planned:
            self._screen.write_line()
            self._written = step

    def parts(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict[str, Any]
    ) -> list[LinePart]:
        """step 12/500 · 0:01:10 elapsed · 0:45:10 left · reward 0.412 · kl 0.0031 · ....

        A step is a training step, as in metrics.csv and in the names of checkpoints. The KL is
        shown where there is a reference. With a budget of molecules the calls are shown, too, and
        the time left is that of what ends first.
        """
        done, planned = step_of(trainer, pl_module), planned_steps(trainer, pl_module)
        count = f"{done}/{planned}" if planned else f"{done}"
        elapsed = time.monotonic() - self._started
        found = [LinePart(f"step {count}", count), LinePart(f"{clock(elapsed)} elapsed", drop=4)]
        fresh = done - (self._before or 0)
        ends = [elapsed / fresh * max(planned - done, 0)] if planned and fresh > 0 else []
        if (ledger := ledger_of(pl_module)) is not None:
            calls = len(ledger.calls)
            found.insert(1, LinePart(f"call {calls:,}/{ledger.max_calls:,}", drop=6))
            if calls > self._calls_before:
                ends.append(elapsed / (calls - self._calls_before) * ledger.left)
        if ends:
            found.append(LinePart(f"{clock(min(ends))} left", drop=5))
        if "rollout" in outputs:
            reward, *rest = rollout_summary(outputs["rollout"], outputs["scores"])
            found.append(LinePart(reward, bold=True))
            experience: Experience | None = outputs.get("experience")
            if experience is not None and experience.ref_logprobs is not None:
                found.append(LinePart(f"kl {float(outputs['loss_terms'].kl):.4f}", drop=3))
            found += [LinePart(rest[0], rest[0].replace("tokens", "tok"), drop=2)]
            found += [LinePart(rest[1], rest[1].removesuffix(" groups"), drop=1)]
        elif (loss := trainer.callback_metrics.get("train/loss")) is not None:
            found.append(LinePart(f"loss {float(loss):.4f}", bold=True))
        return found

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last step has its line, also where the run stopped before it was due."""
        step = step_of(trainer, pl_module)
        shown = self._screen.redraws or self._written == step
        if self._enabled and not shown and self._before not in (None, step):
            self._screen.write_line()
        self._screen.leave()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar's line, so that the error starts on its own."""
        self._screen.leave()


def planned_steps(trainer: pl.Trainer, module: pl.LightningModule) -> int:
    """Training steps of the whole run; 0 = without end. The Trainer counts optimiser steps."""
    updates = getattr(module, "updates_per_step", 1)
    return max(int(trainer.max_steps), 0) // int(updates)


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
