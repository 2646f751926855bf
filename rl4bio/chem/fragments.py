"""The part of a salt or a mixture that matters."""

from __future__ import annotations

from rl4bio.chem.properties import heavy_atoms
from rl4bio.chem.reading import Molecule, read_smiles


def largest_fragment(molecule: Molecule) -> Molecule:
    """The fragment with most heavy atoms: a drug without its counter-ions and solvents.

    Charges stay as they are. Of fragments of one size it is the one whose canonical SMILES is
    longest, then the last in alphabetical order.

    Args:
        molecule: a valid one.

    Returns:
        The molecule itself where it is in one piece.
    """
    if "." not in molecule.canonical:
        return molecule
    parts = [read_smiles(text) for text in sorted(set(molecule.canonical.split(".")))]
    found = [part for part in parts if part.valid]
    return max(
        found,
        key=lambda part: (heavy_atoms(part), len(part.canonical), part.canonical),
        default=molecule,
    )
