"""Gobbi's two-dimensional pharmacophores: the bits of RDKit, found for all triples at once.

RDKit's `Gen2DFingerprint` walks through the pairs and triples of features in Python. Here numpy
walks, and RDKit is asked once for the bit of each kind of triple (families and distances).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem.Pharm2D import Gobbi_Pharm2D

FAR = 512
"""Above every distance in a molecule of the sizes that are read."""
MIN_DISTANCE, MAX_DISTANCE = Gobbi_Pharm2D.defaultBins[0][0], Gobbi_Pharm2D.defaultBins[-1][1]

Feature = tuple[int, tuple[int, ...]]
"""Its family's number and its atoms."""


def features_of(mol: Any) -> list[Feature]:
    """The features of a molecule, in order."""
    found = Gobbi_Pharm2D.factory.GetMolFeats(mol)
    return sorted({(family, tuple(atoms)) for family, each in enumerate(found) for atoms in each})


def pharmacophores(mol: Any, features: Sequence[Feature]) -> Any:
    """`Gen2DFingerprint` of Gobbi's factory, a SparseBitVect.

    Args:
        mol: a molecule.
        features: of it, by `features_of`.
    """
    bits = DataStructs.SparseBitVect(Gobbi_Pharm2D.factory.GetSigSize())
    if len(features) < 2:
        return bits
    distances = _distances(mol, features)
    families = np.array([family for family, _ in features], dtype=np.int64)
    found: set[int] = set()
    for points in (2, 3):
        chosen = _choices(len(features), points)
        pairs = itertools.combinations(range(points), 2)
        apart = np.stack([distances[chosen[:, a], chosen[:, b]] for a, b in pairs], axis=1)
        fits = ((apart >= MIN_DISTANCE) & (apart < MAX_DISTANCE)).all(axis=1)
        kinds = np.concatenate([families[chosen[fits]], apart[fits]], axis=1)
        codes = kinds @ FAR ** np.arange(kinds.shape[1], dtype=np.int64)[::-1]
        _, first = np.unique(codes, return_index=True)
        found.update(_bit(points, kind) for kind in map(tuple, kinds[first].tolist()))
    bits.SetBitsFromList(sorted(found))
    return bits


@functools.lru_cache(maxsize=200_000)
def _bit(points: int, kind: tuple[int, ...]) -> int:
    """RDKit's bit of families and distances."""
    place = Gobbi_Pharm2D.factory.GetBitIdx(kind[:points], kind[points:], sortIndices=False)
    return int(place)


@functools.lru_cache(maxsize=64)
def _choices(count: int, points: int) -> NDArray[np.int64]:
    """The ways to choose features, ascending; [ways, points]."""
    chosen = list(itertools.combinations(range(count), points))
    return np.array(chosen, dtype=np.int64).reshape(len(chosen), points)


def _distances(mol: Any, features: Sequence[Feature]) -> NDArray[np.int64]:
    """Bonds between the nearest atoms of two features; [features, features]."""
    steps = np.minimum(Chem.GetDistanceMatrix(mol), FAR - 1).astype(np.int64)
    found = np.zeros((len(features), len(features)), dtype=np.int64)
    for (i, (_, one)), (j, (_, other)) in itertools.combinations(enumerate(features), 2):
        found[i, j] = found[j, i] = min(steps[a, b] for a in one for b in other)
    return found
