"""Molecules as rows of numbers for a predictor, in named sets that never change.

A stored predictor names its set. A change of what a set holds, or of its order, is a new name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import rdBase
from rdkit.Chem import rdFingerprintGenerator as generators
from rdkit.Chem import rdMolDescriptors

from rl4bio.chem.properties import (
    aromatic_rings,
    heavy_atoms,
    molecular_weight,
    rings,
    rotatable_bonds,
    tpsa,
)
from rl4bio.chem.reading import Molecule

Rows = NDArray[np.float32]

RDKIT_VERSION: str = rdBase.rdkitVersion
"""Of this installation; another may count fragments or estimate properties differently."""
DOMAIN_BITS = 2048
"""Width of the fingerprints that say how near a molecule is to known ones."""

_COUNTED = 2048
"""Width of each counted, folded fingerprint of a feature set."""


def feature_rows(molecules: Sequence[Molecule], name: str) -> Rows:
    """The features of valid molecules.

    Args:
        molecules: M valid ones.
        name: one of FEATURE_SETS.

    Returns:
        float32 [M, F]; all finite.

    Raises:
        ValueError: the set is unknown.
    """
    if name not in FEATURE_SETS:
        raise ValueError(f"unknown feature set {name!r}; known: {', '.join(FEATURE_SETS)}")
    width, fill = FEATURE_SETS[name]
    rows = np.zeros((len(molecules), width), dtype=np.float32)
    with rdBase.BlockLogs():
        for row, molecule in zip(rows, molecules, strict=True):
            fill(molecule, row)
    return rows


def domain_bits(molecules: Sequence[Molecule]) -> NDArray[np.uint8]:
    """Morgan bits of radius 2 (ECFP4) of valid molecules, packed eight to a byte.

    Returns:
        uint8 [M, DOMAIN_BITS / 8].
    """
    generator = _generators()["domain"]
    packed = np.zeros((len(molecules), DOMAIN_BITS // 8), dtype=np.uint8)
    for row, molecule in zip(packed, molecules, strict=True):
        row[:] = np.packbits(generator.GetFingerprintAsNumPy(molecule.mol))
    return packed


def _counts_and_properties(molecule: Molecule, row: Rows) -> None:
    made = _generators()
    for place, key in enumerate(("atoms", "features", "pairs")):
        start = place * _COUNTED
        row[start : start + _COUNTED] = made[key].GetCountFingerprintAsNumPy(molecule.mol)
    mol = molecule.mol
    logp, refractivity = rdMolDescriptors.CalcCrippenDescriptors(mol)
    row[3 * _COUNTED :] = (
        molecular_weight(molecule),
        heavy_atoms(molecule),
        logp,
        refractivity,
        tpsa(molecule),
        rdMolDescriptors.CalcLabuteASA(mol),
        rdMolDescriptors.CalcNumHBD(mol),
        rdMolDescriptors.CalcNumHBA(mol),
        rotatable_bonds(molecule),
        rings(molecule),
        aromatic_rings(molecule),
        rdMolDescriptors.CalcFractionCSP3(mol),
    )


def _morgan(kind: str, molecule: Molecule, row: Rows) -> None:
    generator = _generators()[kind]
    counted = "counts" in kind
    row[:] = (
        generator.GetCountFingerprintAsNumPy(molecule.mol)
        if counted
        else generator.GetFingerprintAsNumPy(molecule.mol)
    )


MORGAN = {
    f"{name}-{form}-{bits}": (radius, bits)
    for name, radius in (("ecfp4", 2), ("ecfp6", 3))
    for form in ("bits", "counts")
    for bits in (1024, 2048)
}
"""Morgan fingerprints as RDKit gives them by default, for models of one's own."""

FEATURE_SETS: dict[str, tuple[int, Callable[[Molecule, Rows], None]]] = {
    "counts-1": (3 * _COUNTED + 12, _counts_and_properties),
    **{name: (bits, functools.partial(_morgan, name)) for name, (_, bits) in MORGAN.items()},
}
"""Name -> width and what fills a row of zeros.

counts-1: how often each fragment occurs, of Morgan (ECFP4), feature Morgan (FCFP4) and atom-pair
fingerprints folded to 2048 each, then 12 properties in the order of `_counts_and_properties`.
ecfp4-bits-2048 and its like: a folded Morgan fingerprint of radius 2 (ecfp6: 3), as bits or counts.
"""


@functools.cache
def _generators() -> dict[str, Any]:
    invariants = generators.GetMorganFeatureAtomInvGen()
    return {
        "atoms": generators.GetMorganGenerator(radius=2, fpSize=_COUNTED),
        "features": generators.GetMorganGenerator(
            radius=2, fpSize=_COUNTED, atomInvariantsGenerator=invariants
        ),
        "pairs": generators.GetAtomPairGenerator(fpSize=_COUNTED),
        **{
            name: generators.GetMorganGenerator(radius=radius, fpSize=bits)
            for name, (radius, bits) in MORGAN.items()
        },
        "domain": generators.GetMorganGenerator(radius=2, fpSize=DOMAIN_BITS),
    }
