"""How like a reference molecule is it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl4bio.chem.fingerprints import similarity
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import TransformedReward
from rl4bio.rewards.molecules.transforms import Linear, Transform

FingerprintKind = Literal["ECFP4", "ECFP6", "FCFP4", "FCFP6", "AP"]


@dataclass(kw_only=True)
class SimilarityReward(TransformedReward):
    """Tanimoto similarity of unfolded count fingerprints to a reference molecule, in [0, 1]."""

    reference: str
    """SMILES of the molecule to resemble."""
    kind: FingerprintKind = "ECFP4"
    """Morgan of radius 2 or 3 with atom (ECFP) or feature (FCFP) invariants, or atom pairs."""
    threshold: float | None = None
    """Similarity from which the reward is 1, proportional below (GuacaMol's clipped score)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reference = read_smiles(self.reference)
        if not self._reference.valid:
            raise ConfigError(
                f"reference: {self.reference[:80]!r} is no SMILES ({self._reference.reason})"
            )

    def usual_transform(self) -> Transform:
        if self.threshold is None:
            return float
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold: got {self.threshold}, needs a number in (0, 1]")
        return Linear(low=0.0, high=self.threshold)

    def raw(self, molecule: Molecule) -> float:
        return similarity(molecule, self._reference, self.kind)
