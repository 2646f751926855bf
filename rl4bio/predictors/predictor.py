"""Predicted affinities of molecules, how far the ensemble disagrees, and how near it was trained.

Numpy alone: what a policy is rewarded with must not need the library that grew the trees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.features import DOMAIN_BITS, FEATURE_SETS, domain_bits, feature_rows
from rl4bio.chem.identity import parent_molecule
from rl4bio.chem.reading import Molecule
from rl4bio.predictors.forest import Forest


@dataclass(slots=True, kw_only=True)
class Prediction:
    """What is known of one molecule."""

    affinity: float
    """Mean of the members: -log10 of a concentration in mol/l, pIC50 where IC50 was learnt."""
    spread: float
    """Standard deviation of the members around it, in the same unit."""
    similarity: float
    """Tanimoto similarity in [0, 1] of ECFP4 bits to the nearest training molecule."""


@dataclass(slots=True, kw_only=True)
class Target:
    """The predictor of one target.

    Raises:
        ValueError: its parts do not fit each other.
    """

    features: str
    """Name of its feature set."""
    forest: Forest
    domain: NDArray[np.uint8]
    """[N, DOMAIN_BITS / 8]: packed fingerprints of the training molecules."""
    low: float
    """Smallest value that it was trained with."""
    high: float
    """Largest one."""
    unit: str = "pIC50"
    facts: dict[str, Any] = field(default_factory=dict)
    """How it was trained, for people."""

    def __post_init__(self) -> None:
        if self.features not in FEATURE_SETS:
            raise ValueError(
                f"features: {self.features!r} is not known to this version, which has "
                f"{', '.join(FEATURE_SETS)}"
            )
        width = FEATURE_SETS[self.features][0]
        if self.forest.num_features != width:
            raise ValueError(
                f"features: {self.features} are {width}, the trees have {self.forest.num_features}"
            )
        shape, wanted = self.domain.shape, DOMAIN_BITS // 8
        packed = self.domain.dtype == np.uint8 and self.domain.ndim == 2 and shape[1] == wanted
        if not packed or not shape[0]:
            raise ValueError(
                f"domain: is {self.domain.dtype}{list(shape)}, needs uint8 [N, {wanted}]"
            )
        if not self.low < self.high:
            raise ValueError(f"low, high: got {self.low}, {self.high}; low must be below high")

    def predict(self, molecules: Sequence[Molecule]) -> list[Prediction]:
        """Predictions of valid molecules, of the parent of each."""
        if not molecules:
            return []
        wholes = [parent_molecule(molecule) for molecule in molecules]
        members = self.forest.members(feature_rows(wholes, self.features))
        similarity = nearest_tanimoto(domain_bits(wholes), self.domain)
        columns = (members.mean(axis=1), members.std(axis=1), similarity)
        return [
            Prediction(affinity=float(a), spread=float(s), similarity=float(t))
            for a, s, t in zip(*columns, strict=True)
        ]


class Predicts(Protocol):
    """What predicts one target: trees of `rl4bio affinity`, or a model of one's own."""

    unit: str

    def predict(self, molecules: Sequence[Molecule]) -> list[Prediction]:
        """Predictions of valid molecules, in their order."""


@dataclass(slots=True, kw_only=True)
class Predictor:
    """The targets of one stored folder."""

    name: str
    """Of the folder, for messages."""
    targets: Mapping[str, Predicts]
    digest: str = ""
    """Of the stored files; predictors of one digest give the same numbers."""


def nearest_tanimoto(ones: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Tanimoto similarity to the nearest neighbour; 1 for two fingerprints without a bit.

    Args:
        ones: uint8 [M, W], packed bits; W a multiple of 8.
        others: uint8 [N, W], N at least 1.

    Returns:
        float64 [M] in [0, 1].
    """
    left, right = (np.ascontiguousarray(side).view(np.uint64) for side in (ones, others))
    left_bits, right_bits = (
        np.bitwise_count(side).sum(axis=1, dtype=np.int64) for side in (left, right)
    )
    nearest = np.zeros(len(left))
    for row, (words, bits) in enumerate(zip(left, left_bits, strict=True)):
        shared = np.bitwise_count(right & words).sum(axis=1, dtype=np.int64)
        union = np.maximum(right_bits + bits - shared, 1)
        nearest[row] = (shared / union).max() if bits else float((right_bits == 0).any())
    return nearest
