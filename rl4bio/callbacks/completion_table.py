"""Sampled completions with their rewards, for people to read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import log_table, say
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.sections.checks import at_least
from rl4bio.text.redaction import one_line
from rl4bio.types import Rollout, Scores


@dataclass(eq=False)
class CompletionTable(StepCallback):
    """Sends a table of completions to W&B or TensorBoard, and prints one now and then."""

    every: int = 10
    """Steps between tables; 0 = none."""
    rows: int = 8
    """Completions in a table, spread evenly over the step's."""
    print_every: int = 10
    """Steps between completions in the terminal; 0 = none."""
    print_characters: int = 1200
    """Longest text shown in the terminal."""

    def __post_init__(self) -> None:
        at_least(0, every=self.every, print_every=self.print_every)
        at_least(1, rows=self.rows)
        at_least(40, print_characters=self.print_characters)

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Show rank 0's completions; the first step is always shown."""
        if not trainer.is_global_zero:
            return
        rollout, scores, number = step.rollout, step.scores, step.number
        if self.every and (number % self.every == 0 or number == 1):
            columns, rows = self._table(rollout, scores, number)
            log_table(trainer, "completions", columns, rows, number)
        if self.print_every and (number % self.print_every == 0 or number == 1):
            # Another row each time, so that not always the same place of a group is seen.
            say(trainer, self.describe(rollout, scores, number, number % len(rollout.completions)))

    def _table(
        self, rollout: Rollout, scores: Scores, step: int
    ) -> tuple[list[str], list[list[Any]]]:
        num_rows = len(rollout.completions)
        num_shown = min(self.rows, num_rows)
        chosen = [i * num_rows // num_shown for i in range(num_shown)]
        columns = ["step", "question", "target", "completion", *scores.parts, "total"]
        samples = rollout.row_samples
        rows: list[list[Any]] = [
            [
                step,
                samples[i].question,
                samples[i].target,
                rollout.completions[i],
                *(float(values[i]) for values in scores.parts.values()),
                float(scores.total[i]),
            ]
            for i in chosen
        ]
        return columns, rows

    def describe(self, rollout: Rollout, scores: Scores, step: int, row: int) -> str:
        """One completion and its reward parts as lines; control characters are escaped."""
        sample = rollout.row_samples[row]
        parts = {**scores.parts, "total": scores.total}
        rewards = " · ".join(f"{name} {_number(float(v[row]))}" for name, v in parts.items())
        tokens = int(rollout.completion_mask[row].sum())
        end = ", cut off" if bool(rollout.truncated[row]) else ""
        return "\n".join(
            [
                f"── step {step}, sample {one_line(sample.uid, 40)} ({tokens} tokens{end})",
                f"question    {one_line(sample.question, self.print_characters)}",
                f"completion  {one_line(rollout.completions[row], self.print_characters)}",
                f"target      {one_line(str(sample.target), 200)}",
                f"rewards     {rewards}",
            ]
        )


def _number(value: float) -> str:
    return "not scored" if math.isnan(value) else f"{value:.3f}"
