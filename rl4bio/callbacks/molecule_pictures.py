"""The best molecules of a step as pictures, where the run is logged."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from rl4bio.callbacks.loggers.mlflow_run import MLflowRun
from rl4bio.callbacks.molecule_table import rollout_molecules
from rl4bio.callbacks.outputs import attempt, was_sent
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.chem.drawing import grid_png
from rl4bio.chem.reading import Molecule
from rl4bio.sections.checks import at_least

NAME = "molecules/best"


@dataclass(eq=False)
class MoleculePictures(StepCallback):
    """Sends the best different molecules of rank 0's step, drawn, now and then.

    W&B gets the pictures, and a table with picture, SMILES, total and raw values of each;
    TensorBoard and MLflow get one picture of all. Nothing is drawn where none of them is used.
    """

    every: int = 25
    """Steps between pictures; the first step is drawn too."""
    count: int = 12
    """Molecules, by total reward."""

    def __post_init__(self) -> None:
        at_least(1, every=self.every, count=self.count)

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Draw and send."""
        due = step.number == 1 or step.number % self.every == 0
        loggers = [logger for logger in trainer.loggers if _sender(logger) is not None]
        if not due or not trainer.is_global_zero or not loggers:
            return
        totals = step.scores.total.tolist()
        molecules = rollout_molecules(step.rollout)
        best = best_rows(molecules, totals, self.count)
        if not best:
            return
        drawn = [molecules[row] for row in best]
        raw = {name: [values[row] for row in best] for name, values in step.scores.raw.items()}
        table = {"total": [totals[row] for row in best], **raw}
        for logger in loggers:
            if not was_sent(logger, step.number):
                send = _sender(logger)
                assert send is not None
                attempt(logger, send, logger, drawn, table, step.number)


def best_rows(molecules: Sequence[Molecule], totals: Sequence[float], count: int) -> list[int]:
    """The rows of the best different valid molecules, best first; ties by their order."""
    first: dict[str, int] = {}
    for row, molecule in enumerate(molecules):
        if molecule.valid and not math.isnan(totals[row]):
            first.setdefault(molecule.canonical, row)
    return sorted(first.values(), key=lambda row: -totals[row])[:count]


Columns = dict[str, list[float]]
Send = Callable[[Any, Sequence[Molecule], Columns, int], None]


def _sender(logger: Any) -> Send | None:
    """How a logger takes pictures; None where it takes none."""
    kinds: dict[type, Send] = {
        WandbLogger: _to_wandb,
        TensorBoardLogger: _to_tensorboard,
        MLflowRun: _to_mlflow,
    }
    return next((send for kind, send in kinds.items() if isinstance(logger, kind)), None)


def _to_wandb(logger: Any, molecules: Sequence[Molecule], table: Columns, step: int) -> None:
    import wandb

    pictures = [
        wandb.Image(_picture([molecule]), caption=f"{total:.3f} {molecule.canonical}")
        for molecule, total in zip(molecules, table["total"], strict=True)
    ]
    rows = [
        [step, picture, molecule.canonical, *(column[n] for column in table.values())]
        for n, (molecule, picture) in enumerate(zip(molecules, pictures, strict=True))
    ]
    shown = wandb.Table(columns=["step", "molecule", "smiles", *table], data=rows)
    found = {NAME: pictures, f"{NAME}_table": shown, "trainer/global_step": step}
    logger.experiment.log(found)


def _to_tensorboard(logger: Any, molecules: Sequence[Molecule], table: Columns, step: int) -> None:
    import numpy as np

    pixels = np.asarray(_picture(molecules, table["total"]))
    logger.experiment.add_image(NAME, pixels, step, dataformats="HWC")


def _to_mlflow(logger: Any, molecules: Sequence[Molecule], table: Columns, step: int) -> None:
    logger.log_picture(f"{NAME}_step_{step:06d}.png", _picture(molecules, table["total"]))


def _picture(molecules: Sequence[Molecule], totals: Sequence[float] = ()) -> Any:
    """A PIL image of the molecules, each above its total."""
    from PIL import Image

    legends = [f"{total:.3f}" for total in totals] or None
    png = grid_png(molecules, legends, columns=min(4, len(molecules)))
    return Image.open(io.BytesIO(png)).convert("RGB")
