"""Substructure patterns written as SMARTS."""

from __future__ import annotations

import functools
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.reading import Molecule


@functools.lru_cache(maxsize=1000)
def read_smarts(text: str) -> Any:
    """The pattern that a SMARTS spells.

    Raises:
        ValueError: it spells none, or one without atoms.
    """
    with rdBase.BlockLogs():
        pattern = Chem.MolFromSmarts(text)
    if pattern is None or pattern.GetNumAtoms() == 0:
        raise ValueError(f"{text[:80]!r} is no SMARTS")
    return pattern


def has_pattern(molecule: Molecule, smarts: str, *, stereo: bool = False) -> bool:
    """Whether a valid molecule contains the pattern; remembered in its memo.

    Args:
        molecule: a valid one.
        smarts: of the pattern.
        stereo: whether the stereochemistry that the pattern spells must be there.
    """
    key = f"smarts {stereo:d} {smarts}"
    if key not in molecule.memo:
        pattern = read_smarts(smarts)
        molecule.memo[key] = molecule.mol.HasSubstructMatch(pattern, useChirality=stereo)
    return bool(molecule.memo[key])


def has_substructure(molecule: Molecule, part: Molecule) -> bool:
    """Whether a valid molecule contains another one, whose open valences may be substituted."""
    return bool(molecule.mol.HasSubstructMatch(part.mol))
