"""Every sampled molecule of a run in one growing CSV file."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
from torch import Tensor

from rl4bio.answers.design import written_smiles
from rl4bio.callbacks.outputs import rows_of_ranks
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.states import batch_states
from rl4bio.errors import StorageError
from rl4bio.files.delimited import csv_text, written_rows
from rl4bio.storage import write_atomic
from rl4bio.storage.files import storage_errors
from rl4bio.storage.step_records import keep_rows, stays
from rl4bio.text.redaction import number_cell, one_line, safe_cell
from rl4bio.types import MoleculeState, Rollout, Scores

FILE_NAME = "molecules.csv"


@dataclass(eq=False)
class MoleculeTable(StepCallback):
    """Appends rank 0's molecules of each step to `molecules.csv`, on the disk at once.

    Columns: step, smiles, canonical, state (valid, invalid, duplicate, seen), total, reward_<name>
    and raw_<name> of each reward, logprob_policy and logprob_prior (sums over the tokens, in nats,
    at the sampling temperature; the prior's is empty where the run computes no reference). The
    first step that a resumed run writes removes the rows from that step on.
    """

    path: str | None = None
    """The file; None = molecules.csv in the run folder."""
    keep_steps: int = 0
    """Steps whose rows stay (`logging.keep_steps`), looked at whenever a quarter as many are new;
    0 = all."""

    def __post_init__(self) -> None:
        self._columns: list[str] | None = None

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Append the step's rows.

        Raises:
            StorageError: the file cannot be read or written.
        """
        path = Path(self.path or Path(trainer.default_root_dir) / FILE_NAME)
        prior = None if step.experience is None else step.experience.ref_logprobs
        columns, own = step_rows(step.number, step.rollout, step.scores, prior)
        rows = rows_of_ranks(trainer, own)
        if not trainer.is_global_zero:
            return
        if self._columns is None:
            rewind(path, step.number, columns)
            self._columns = columns
        with storage_errors(path), path.open("ab") as stream:
            stream.write(csv_text(rows).encode())
            stream.flush()
            os.fsync(stream.fileno())
        keep = self.keep_steps
        if 0 < keep < step.number and step.number % max(1, keep // 4) == 0:
            keep_rows(path, lambda number: stays(number, step.number, keep))


def rollout_molecules(rollout: Rollout) -> list[Molecule]:
    """The molecule of each row: the start of a SMILES that its prompt holds, and the completion."""
    pairs = zip(rollout.row_samples, rollout.completions, strict=True)
    return [read_smiles(written_smiles(text, sample)) for sample, text in pairs]


def molecule_states(molecules: Sequence[Molecule], scores: Scores) -> list[MoleculeState]:
    """The state of each row, from the scorer or, where it gave none, from the batch alone."""
    return batch_states(molecules) if scores.states is None else scores.states


def step_rows(
    step: int, rollout: Rollout, scores: Scores, prior: Tensor | None
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a step.

    Args:
        step: from 1.
        rollout: N completions.
        scores: of the rollout.
        prior: float [N, C], log-probabilities of the reference, or None.
    """
    molecules = rollout_molecules(rollout)
    numbers = {
        "total": scores.total.tolist(),
        **{f"reward_{name}": values.tolist() for name, values in scores.parts.items()},
        **{f"raw_{name}": values for name, values in scores.raw.items()},
        "logprob_policy": _sums(rollout.logprobs, rollout.completion_mask),
        "logprob_prior": _sums(prior, rollout.completion_mask),
    }
    rows = []
    for n, (molecule, state) in enumerate(
        zip(molecules, molecule_states(molecules, scores), strict=True)
    ):
        text = molecule.text if molecule.valid else safe_cell(one_line(molecule.text))
        cells = [str(step), text, molecule.canonical, state]
        rows.append([*cells, *(number_cell(column[n]) for column in numbers.values())])
    return ["step", "smiles", "canonical", "state", *numbers], rows


def rewind(path: Path, step: int, columns: Sequence[str]) -> None:
    """Leave a file with this header, and without the rows of `step` and later ones.

    A last line without its end, which a kill in the middle of a write leaves, goes as well.

    Raises:
        StorageError: the file cannot be read or written.
    """
    keep_rows(path, lambda number: number < step)
    header = ""
    if path.exists():
        with storage_errors(path), path.open(encoding="utf-8", newline="") as stream:
            header = stream.readline()
    if header == csv_text([columns]):
        return
    if header.endswith("\n") and not header.startswith("step,"):
        raise StorageError(f"{path}: holds no molecules of a run; move it, or set another path")
    found = written_rows(path)[1] if header else []
    kept = [[row.get(c) or "" for c in columns] for row in found]
    write_atomic(path, csv_text([list(columns), *kept]))


def _sums(logprobs: Tensor | None, mask: Tensor) -> list[float]:
    if logprobs is None:
        return [math.nan] * len(mask)
    return logprobs.masked_fill(~mask, 0.0).sum(-1).tolist()
