"""How different are the molecules of one batch?"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rl4bio.chem.fingerprints import bulk_tanimoto, fingerprint
from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import Molecule
from rl4bio.rewards.molecules.base import BatchMoleculeReward
from rl4bio.rewards.molecules.similarity import FingerprintKind
from rl4bio.types import Sample


@dataclass(kw_only=True)
class _AmongReward(BatchMoleculeReward):
    """Compares a molecule with the valid ones around it."""

    among: Literal["batch", "group"] = "batch"
    """All completions that are scored together, or those of the same sample alone."""

    def raws(self, molecules: Sequence[Molecule], samples: Sequence[Sample]) -> list[float]:
        rows: dict[str, list[int]] = defaultdict(list)
        for row, (molecule, sample) in enumerate(zip(molecules, samples, strict=True)):
            if molecule.valid:
                rows[sample.uid if self.among == "group" else ""].append(row)
        found = [math.nan] * len(molecules)
        for together in rows.values():
            values = self.compare([molecules[row] for row in together])
            for row, value in zip(together, values, strict=True):
                found[row] = value
        return found

    def compare(self, molecules: Sequence[Molecule]) -> list[float]:
        """The raw values of valid molecules, given one another."""
        raise NotImplementedError


@dataclass(kw_only=True)
class DiversityReward(_AmongReward):
    """1 - mean Tanimoto similarity to the other valid molecules; 1 where there is no other.

    Copies count like any other molecule, so repeating one lowers the reward of all its copies.
    """

    kind: FingerprintKind = "ECFP4"

    def compare(self, molecules: Sequence[Molecule]) -> list[float]:
        prints = [fingerprint(molecule, self.kind) for molecule in molecules]
        if len(prints) < 2:
            return [1.0] * len(prints)
        found = []
        for index, print_ in enumerate(prints):
            likeness = bulk_tanimoto(print_, prints)
            del likeness[index]  # to itself
            found.append(1 - math.fsum(likeness) / len(likeness))
        return found


@dataclass(kw_only=True)
class ScaffoldDiversityReward(_AmongReward):
    """1 / n for a molecule whose Bemis-Murcko scaffold n valid molecules have, itself included.

    Acyclic molecules share one empty scaffold. So the rewards of a batch add up to its number of
    different scaffolds. The raw value is n.
    """

    def compare(self, molecules: Sequence[Molecule]) -> list[float]:
        scaffolds = [scaffold(molecule) for molecule in molecules]
        counts = Counter(scaffolds)
        return [float(counts[name]) for name in scaffolds]

    def value(self, raw: float) -> float:
        return 1 / raw
