"""Fingerprints of molecules and their Tanimoto similarity.

The kinds are those of GuacaMol (Brown et al., 2019): unfolded, counted, so that no two fragments
collide. MOSES' diversity measures use a folded bit vector instead: `folded_ecfp4`.

One departure: the time of a pharmacophore fingerprint grows with the cube of the number of features
(30 in a large drug, 120 in a chain of 60 nitrogens, which takes eight seconds), and seconds go into
finding them in hundreds of atoms. Beyond MAX_PHARMACOPHORES features or MAX_PHARMACOPHORE_ATOMS
atoms it is empty, so that its similarity to any molecule is 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator as generators

from rl4bio.chem.pharmacophores import Feature, features_of, pharmacophores
from rl4bio.chem.reading import Molecule, remembered

FOLDED_BITS = 1024
MAX_PHARMACOPHORES = 60
MAX_PHARMACOPHORE_ATOMS = 120


def _morgan(radius: int, *, features: bool = False) -> Any:
    if not features:
        return generators.GetMorganGenerator(radius=radius)
    invariants = generators.GetMorganFeatureAtomInvGen()
    return generators.GetMorganGenerator(radius=radius, atomInvariantsGenerator=invariants)


_MAKERS: dict[str, Callable[[], Any]] = {
    "ECFP4": lambda: _morgan(2),
    "ECFP6": lambda: _morgan(3),
    "FCFP4": lambda: _morgan(2, features=True),
    "FCFP6": lambda: _morgan(3, features=True),
    "AP": lambda: generators.GetAtomPairGenerator(maxDistance=10),
}
KINDS = (*_MAKERS, "PHCO")
"""Extended-connectivity (Morgan) fingerprints by diameter, the same over pharmacophore features,
atom pairs up to 10 bonds apart, and Gobbi's two-dimensional pharmacophores (bits, not counts)."""


def fingerprint(molecule: Molecule, kind: str) -> Any:
    """The fingerprint of a valid molecule, computed once.

    Args:
        molecule: a valid molecule.
        kind: one of KINDS.

    Returns:
        A sparse vector of RDKit, of the type that `tanimoto` compares with its like.

    Raises:
        ValueError: the kind is unknown, or the molecule invalid.
    """
    return _function(kind)(molecule)


@remembered
def folded_ecfp4(molecule: Molecule) -> Any:
    """Morgan bits of radius 2 folded to 1024, what MOSES compares; an ExplicitBitVect."""
    return _folded().GetFingerprint(molecule.mol)


def tanimoto(first: Any, second: Any) -> float:
    """Tanimoto similarity in [0, 1] of two fingerprints of one kind.

    Over bits |A and B| / |A or B|; over counts sum of minima / sum of maxima.
    """
    return float(DataStructs.TanimotoSimilarity(first, second))


def bulk_tanimoto(one: Any, many: Sequence[Any]) -> list[float]:
    """Tanimoto similarity of one fingerprint to each of many, in their order."""
    return list(DataStructs.BulkTanimotoSimilarity(one, list(many))) if many else []


def similarity(molecule: Molecule, reference: Molecule, kind: str) -> float:
    """Tanimoto similarity in [0, 1] of two valid molecules."""
    return tanimoto(fingerprint(molecule, kind), fingerprint(reference, kind))


@functools.cache
def _function(kind: str) -> Callable[[Molecule], Any]:
    """The remembered function of a kind; its memo key is `fingerprint_<kind>`."""
    if kind not in KINDS:
        raise ValueError(f"unknown fingerprint {kind!r}; known: {', '.join(KINDS)}")
    if kind == "PHCO":
        compute = _pharmacophores
    else:
        generator = _MAKERS[kind]()

        def compute(molecule: Molecule) -> Any:
            return generator.GetSparseCountFingerprint(molecule.mol)

    compute.__name__ = f"fingerprint_{kind}"
    return remembered(compute)


def _pharmacophores(molecule: Molecule) -> Any:
    features: list[Feature] = []
    if molecule.mol.GetNumAtoms() <= MAX_PHARMACOPHORE_ATOMS:
        features = features_of(molecule.mol)
    few = len(features) <= MAX_PHARMACOPHORES
    return pharmacophores(molecule.mol, features if few else [])


@functools.cache
def _folded() -> Any:
    return generators.GetMorganGenerator(radius=2, fpSize=FOLDED_BITS)
