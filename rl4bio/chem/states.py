"""What the molecules of a batch are to each other."""

from __future__ import annotations

from collections.abc import Iterable

from rl4bio.chem.reading import Molecule
from rl4bio.types import MoleculeState


def batch_states(molecules: Iterable[Molecule]) -> list[MoleculeState]:
    """invalid, valid, or duplicate where the same molecule stands earlier, of each molecule."""
    seen: set[str] = set()
    states: list[MoleculeState] = []
    for molecule in molecules:
        repeated = molecule.canonical in seen
        states.append("invalid" if not molecule.valid else "duplicate" if repeated else "valid")
        seen.add(molecule.canonical)
    return states
