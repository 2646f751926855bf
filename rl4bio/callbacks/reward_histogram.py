"""The spread of every reward."""

from __future__ import annotations

from dataclasses import dataclass

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import log_histogram, over_ranks, quantiles
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.sections.checks import at_least


@dataclass(eq=False)
class RewardHistogram(StepCallback):
    """Logs quantiles of each reward and of the total at every step, and now and then histograms.

    The quantiles (`reward/<name>_p05`, `_p50`, `_p95`) are scalars, so metrics.csv has them too;
    `reward/<name>_unscored_fraction` is the share of completions that could not be scored.
    """

    every: int = 10
    """Steps between histograms."""

    def __post_init__(self) -> None:
        at_least(1, every=self.every)

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Log the rewards of the step, of all ranks together."""
        scores = step.scores
        for name, own in {**scores.parts, "total": scores.total}.items():
            values = over_ranks(module, own)
            metrics = quantiles(f"reward/{name}", values)
            metrics[f"reward/{name}_unscored_fraction"] = float(values.isnan().float().mean())
            for key, value in metrics.items():
                module.log(key, value, rank_zero_only=True)
            if step.number % self.every == 0:
                log_histogram(trainer, f"reward/{name}", values, step.number)
