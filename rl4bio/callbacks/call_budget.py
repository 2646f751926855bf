"""The end of a run whose budget of scored molecules is used up, and the record of its calls."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.molecule_table import rewind
from rl4bio.callbacks.outputs import say
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.files.delimited import csv_text
from rl4bio.storage.files import storage_errors
from rl4bio.text.redaction import number_cell

_LOG = logging.getLogger("rl4bio")

FILE_NAME = "calls.csv"
COLUMNS = ("step", "call", "smiles", "total")


@dataclass(eq=False)
class CallBudget(StepCallback):
    """Writes `calls.csv`, a row for each molecule that was scored (`molecules.max_calls`), in the
    order of the calls, and ends the run after the last one.

    Columns: step, call, smiles, total, reward_<name> of each reward and raw_<name> of what rewards
    were made from. The first step that a resumed run writes removes the rows from that step on.
    """

    path: str | None = None
    """The file; None = calls.csv in the run folder."""

    def __post_init__(self) -> None:
        self._written = 0
        self._parts: dict[str, None] = {}
        self._raw: dict[str, None] = {}
        """Names of rewards and of what they were made from, in the order of the calls."""
        self._columns: list[str] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A run that is resumed at its end takes no step more."""
        ledger = ledger_of(pl_module)
        self._written = 0 if ledger is None else len(ledger.calls)
        if ledger is not None and ledger.left <= 0:
            trainer.should_stop = True

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Append the step's calls, and stop where they were the last.

        Raises:
            StorageError: the file cannot be read or written.
        """
        ledger = ledger_of(module)
        if ledger is None:
            return
        if trainer.is_global_zero:
            self._append(
                Path(self.path or Path(trainer.default_root_dir) / FILE_NAME), ledger, step
            )
        if ledger.left <= 0:
            trainer.should_stop = True
            message = f"molecules.max_calls: {len(ledger.calls)} molecules are scored; the end"
            _LOG.info(message)
            say(trainer, message)

    def _append(self, path: Path, ledger: Any, step: Step) -> None:
        calls = list(ledger.calls.values())
        new = calls[self._written :]
        for call in new if self._columns else calls:
            self._parts |= dict.fromkeys(call.parts)
            self._raw |= dict.fromkeys(call.raw)
        columns = [
            *COLUMNS,
            *(f"reward_{n}" for n in self._parts),
            *(f"raw_{n}" for n in self._raw),
        ]
        if columns != self._columns:
            rewind(path, step.number, columns)
            self._columns = columns
        rows = []
        for number, call in enumerate(new, start=self._written + 1):
            values = [call.total, *map(call.parts.get, self._parts), *map(call.raw.get, self._raw)]
            cells = ["" if value is None else number_cell(value) for value in values]
            rows.append([str(step.number), str(number), call.canonical, *cells])
        with storage_errors(path), path.open("ab") as stream:
            stream.write(csv_text(rows).encode())
            stream.flush()
            os.fsync(stream.fileno())
        self._written = len(calls)


def ledger_of(module: Any) -> Any:
    """The account of the molecules that may be scored; None where they are not counted."""
    return getattr(module, "memories", {}).get("ledger")
