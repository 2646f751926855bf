"""How valid, distinct and diverse the molecules of a run are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.molecule_table import rollout_molecules
from rl4bio.callbacks.step import Step, StepCallback
from rl4bio.chem.diversity import internal_diversity, snn, unique_fraction
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.identity import same_name
from rl4bio.chem.reading import Molecule
from rl4bio.chem.reference import reference_subset
from rl4bio.chem.tables import read_smiles_column
from rl4bio.sections.checks import at_least


@dataclass(eq=False)
class MoleculeMonitor(StepCallback):
    """Logs `molecules/...` of rank 0's batch every `every` steps, and at the first.

    valid_fraction; unique_fraction, distinct parents over valid molecules; of the valid
    molecules intdiv (1 - mean pairwise Tanimoto) and snn (mean similarity to the nearest molecule
    of the reference's fixed subset). A number that is undefined, as where no molecule is valid, is
    not logged.
    """

    reference: str | None = None
    """File of SMILES (.csv or .tsv with a column smiles, .smi, .txt, .gz of them) that snn compares
    with; None = the training samples, where they hold whole molecules."""
    every: int = 10
    """Steps between two logs."""

    def __post_init__(self) -> None:
        at_least(1, every=self.every)
        self._subset: list[Any] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the reference.

        Raises:
            DataError: its file cannot be read.
        """
        if not trainer.is_global_zero:
            return
        if self.reference is not None:
            wanted = "molecule_monitor's reference"
            rows = read_smiles_column(Path(self.reference), option=wanted, column_option=wanted)
            texts = [text for _, text in rows]
        else:
            source: Any = getattr(trainer, "datamodule", None)
            samples = source.samples("train") if hasattr(source, "samples") else []
            texts = [sample.reference for sample in samples if sample.reference]
        self._subset = [folded_ecfp4(molecule) for molecule in reference_subset(texts)]

    def on_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: Step) -> None:
        """Log the step's numbers."""
        number = step.number
        if not trainer.is_global_zero or (number % self.every and number != 1):
            return
        metrics = batch_metrics(rollout_molecules(step.rollout), self._subset or [])
        # Not through the module, whose log would repeat the numbers at every step in between.
        for logger in trainer.loggers:
            logger.log_metrics({f"molecules/{k}": v for k, v in metrics.items()}, number)


def batch_metrics(molecules: Sequence[Molecule], subset: Sequence[Any]) -> dict[str, float]:
    """The numbers of a batch that are defined, by their names.

    Args:
        molecules: N, valid or not.
        subset: folded ECFP4 of the reference's subset; none = no snn.
    """
    valid = [molecule for molecule in molecules if molecule.valid]
    fingerprints = [folded_ecfp4(molecule) for molecule in valid]
    metrics = {
        "valid_fraction": len(valid) / len(molecules),
        "unique_fraction": unique_fraction([same_name(molecule) for molecule in valid]),
        "intdiv": internal_diversity(fingerprints),
        "snn": snn(fingerprints, subset),
    }
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
