"""Every completion with its rewards, one file a step."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.outputs import rows_of_ranks
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.storage import write_atomic
from rl4bio.storage.step_records import keep_files, stays, step_file
from rl4bio.types import Sample, Scores


@dataclass(eq=False)
class CompletionWriter(StepCallback):
    """Writes `step-000012.jsonl` with the completions of step 12, in one piece.

    Those of all ranks, one rank after the other.

    A resumed run that repeats a step replaces its file, so no completion appears twice. Fields: id,
    prompt, completion, rewards (null = could not be scored), total, advantage, tokens, truncated;
    state and raw (values in their own units, null = none) where the completions are molecules.
    The first line of each prompt has its question and target too, where it has any.
    """

    folder: str
    keep_steps: int = 0
    """Steps whose files stay (`rl4bio.storage.step_records.stays`); 0 = all."""

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Write the step's file.

        Raises:
            StorageError: the folder is missing, read-only or full.
        """
        rollout, scores, experience = step.rollout, step.scores, step.experience
        parts = {name: values.tolist() for name, values in scores.parts.items()}
        totals = scores.total.tolist()
        advantages = experience.advantages.tolist() if experience is not None else None
        tokens = rollout.completion_mask.sum(dim=1).tolist()
        truncated = rollout.truncated.tolist()
        own = [
            {
                "prompt": sample.uid,
                "completion": rollout.completions[row],
                "rewards": {name: _number(values[row]) for name, values in parts.items()},
                "total": _number(totals[row]),
                "advantage": _number(advantages[row]) if advantages is not None else None,
                "tokens": tokens[row],
                "truncated": truncated[row],
                **_molecule_columns(scores, row),
                **(_asked(sample) if row % rollout.group_size == 0 else {}),
            }
            for row, sample in enumerate(rollout.row_samples)
        ]
        rows = rows_of_ranks(trainer, own)
        if not trainer.is_global_zero:
            return
        lines = [json.dumps({"id": f"{step.number}/{n}", **row}) for n, row in enumerate(rows)]
        folder = Path(self.folder)
        write_atomic(step_file(folder, step.number), "\n".join(lines) + "\n")
        if 0 < self.keep_steps < step.number:
            keep_files(folder, lambda number: stays(number, step.number, self.keep_steps))


def _molecule_columns(scores: Scores, row: int) -> dict[str, Any]:
    """State and raw values of a row, where there are any."""
    found: dict[str, Any] = {}
    if scores.states is not None:
        found["state"] = scores.states[row]
    if scores.raw:
        found["raw"] = {name: _number(values[row]) for name, values in scores.raw.items()}
    return found


def _asked(sample: Sample) -> dict[str, str]:
    """What a prompt asks, and its gold answer, where it has them."""
    found = {"question": sample.question, "target": sample.target}
    return {name: text for name, text in found.items() if text}


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
