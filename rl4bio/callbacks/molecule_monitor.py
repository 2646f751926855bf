"""How valid, distinct and diverse the molecules of a run are, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from rl4bio.callbacks.molecule_table import molecule_states, read_molecules
from rl4bio.callbacks.outputs import step_of
from rl4bio.chem.diversity import internal_diversity, snn
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.reading import Molecule
from rl4bio.chem.reference import read_smiles_file, reference_subset


@dataclass(eq=False)
class MoleculeMonitor(pl.Callback):
    """Logs `molecules/...` of rank 0's batch.

    Every step: valid_fraction; unique_fraction, distinct canonical SMILES over valid molecules;
    seen_fraction, the share of valid molecules that an earlier step has scored. Every `every` steps
    and at the first, of the valid molecules: intdiv (1 - mean pairwise Tanimoto), and snn (mean
    similarity to the nearest molecule of the reference's fixed subset). A number that is undefined,
    as where no molecule is valid, is not logged.
    """

    reference: str | None = None
    """File of SMILES (.csv with a column smiles, .smi, .txt, .gz of them) that snn compares with;
    None = the training samples, where they hold whole molecules."""
    every: int = 10
    """Steps between intdiv and snn."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every: got {self.every}, needs at least 1")
        self._subset: list[Any] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the reference.

        Raises:
            DataError: its file cannot be read.
        """
        if not trainer.is_global_zero:
            return
        if self.reference is not None:
            texts = read_smiles_file(Path(self.reference))
        else:
            source: Any = getattr(trainer, "datamodule", None)
            samples = source.samples("train") if hasattr(source, "samples") else []
            texts = [sample.reference for sample in samples if sample.reference]
        self._subset = [folded_ecfp4(molecule) for molecule in reference_subset(texts)]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the step's numbers."""
        rollout = outputs.get("rollout") if outputs else None
        if rollout is None or not trainer.is_global_zero:
            return
        molecules = read_molecules(rollout)
        states = molecule_states(molecules, outputs["scores"])
        metrics = batch_metrics(molecules, states)
        step = step_of(trainer, pl_module)
        if step % self.every == 0 or step == 1:
            metrics |= diversity_metrics(molecules, self._subset or [])
        for name, value in metrics.items():
            pl_module.log(f"molecules/{name}", value, rank_zero_only=True)


def batch_metrics(molecules: list[Molecule], states: Sequence[str]) -> dict[str, float]:
    """Shares of valid, distinct and seen molecules; the last two of the valid ones, if any.

    Args:
        molecules: N.
        states: valid, invalid, duplicate or seen, of each.
    """
    valid = [molecule.canonical for molecule in molecules if molecule.valid]
    metrics = {"valid_fraction": len(valid) / len(molecules)}
    if valid:
        metrics["unique_fraction"] = len(set(valid)) / len(valid)
        metrics["seen_fraction"] = states.count("seen") / len(valid)
    return metrics


def diversity_metrics(molecules: list[Molecule], subset: list[Any]) -> dict[str, float]:
    """IntDiv and, where there is a reference, SNN of the valid molecules.

    Args:
        molecules: N.
        subset: folded ECFP4 of the reference's subset.
    """
    fingerprints = [folded_ecfp4(molecule) for molecule in molecules if molecule.valid]
    metrics = {}
    if len(fingerprints) > 1:
        metrics["intdiv"] = internal_diversity(fingerprints)
    if fingerprints and subset:
        metrics["snn"] = snn(fingerprints, subset)
    return metrics
