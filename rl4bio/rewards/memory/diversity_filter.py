"""Scaffolds that have been found often enough pay less, as REINVENT's users know it.

A molecule whose total reward reaches `min_score` is put into the bucket of its scaffold. The n-th
molecule of a bucket (n from 0, those before it) of size D keeps this share of its reward:

| penalty | share                                   |
|---------|-----------------------------------------|
| zero    | 1 for n < D, else 0                     |
| linear  | max(0, 1 - n / D)                       |
| sigmoid | 1 / (1 + exp((2 n / D - 1) / 0.15))     |
| tanh    | 1 - tanh(2 n / D)                       |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rl4bio.chem.fingerprints import bulk_tanimoto, fingerprint
from rl4bio.chem.identity import parent_scaffold
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.scaffolds import topological_scaffold
from rl4bio.sections import DiversityConfig
from rl4bio.types import MoleculeState


def share_kept(penalty: str, before: int, bucket: int) -> float:
    """The share of its reward that a molecule keeps; the module's table.

    Args:
        penalty: one of the table.
        before: molecules in the bucket, n.
        bucket: its size, D.
    """
    filled = before / bucket
    if penalty == "linear":
        return max(0.0, 1 - filled)
    if penalty == "sigmoid":
        return 1 / (1 + math.exp(min(700.0, (2 * filled - 1) / 0.15)))
    if penalty == "tanh":
        return 1 - math.tanh(2 * filled)
    return 1.0 if before < bucket else 0.0


class DiversityFilter:
    """Buckets of scaffolds, the same in all processes once they have shared.

    Args:
        section: how molecules are grouped, and what a full bucket costs.
    """

    def __init__(self, section: DiversityConfig) -> None:
        self.section = section
        self.buckets: dict[str, int] = {}
        """Scaffold -> molecules in its bucket; "" holds those without a ring."""
        self._prints: dict[str, Any] = {}
        self._latest: list[str] = []
        self._judged = self._lowered = 0

    def apply(
        self,
        molecules: Sequence[Molecule],
        states: Sequence[MoleculeState],
        totals: Sequence[float],
    ) -> list[float]:
        """The totals of N rows, lowered where the bucket of a molecule fills up.

        Molecules that were there before, in the batch or the run, are put into no bucket again.
        """
        found = []
        for molecule, state, total in zip(molecules, states, totals, strict=True):
            if not molecule.valid or not total > 0:
                found.append(total)
                continue
            name = self._bucket(molecule)
            found.append(total * self._kept(name))
            self._judged += 1
            self._lowered += found[-1] < total
            if state == "valid" and total >= self.section.min_score:
                self.buckets[name] = self.buckets.get(name, 0) + 1
                self._latest.append(name)
        return found

    def kept(self, molecule: Molecule) -> float:
        """The share of its reward that a molecule would keep now."""
        return self._kept(self._bucket(molecule))

    def _kept(self, bucket: str) -> float:
        before = self.buckets.get(bucket, 0)
        return share_kept(self.section.penalty, before, self.section.bucket_size)

    def share(self, gather: Callable[[list[Any]], list[Any]]) -> None:
        """Count what other processes have put into buckets since the last time."""
        latest, self._latest = self._latest, []
        for name in latest:
            self.buckets[name] -= 1
            if not self.buckets[name]:
                del self.buckets[name]
        for name in gather(latest):
            self.buckets[name] = self.buckets.get(name, 0) + 1

    def numbers(self) -> dict[str, float]:
        """Buckets, those that are full, and the share of this process's paid molecules that were
        paid less since the last time."""
        size = self.section.bucket_size
        share = self._lowered / self._judged if self._judged else 0.0
        self._judged = self._lowered = 0
        return {
            "scaffolds": float(len(self.buckets)),
            "full_scaffolds": float(sum(count >= size for count in self.buckets.values())),
            "filtered_fraction": share,
        }

    def state_dict(self) -> dict[str, Any]:
        """The buckets, for checkpoints."""
        return {"buckets": [[name, count] for name, count in self.buckets.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the buckets by a checkpoint's."""
        self.buckets = dict(state["buckets"])

    def _bucket(self, molecule: Molecule) -> str:
        if self.section.kind == "topological":
            return topological_scaffold(molecule)
        own = parent_scaffold(molecule)
        if self.section.kind == "murcko" or not own or own in self.buckets:
            return own
        names = [name for name in self.buckets if name]
        near = bulk_tanimoto(_atom_pairs(own), [self._print(name) for name in names])
        best = max(range(len(near)), key=near.__getitem__, default=None)
        return own if best is None or near[best] < self.section.min_similarity else names[best]

    def _print(self, bucket: str) -> Any:
        if bucket not in self._prints:
            self._prints[bucket] = _atom_pairs(bucket)
        return self._prints[bucket]


def _atom_pairs(scaffold: str) -> Any:
    return fingerprint(read_smiles(scaffold, allow_dummies=True), "AP")
