"""How like a reference molecule is it?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rl4bio.chem.fingerprints import similarity
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import TransformedReward, input_molecule
from rl4bio.rewards.molecules.transforms import Linear, Range, Transform
from rl4bio.types import Sample

FingerprintKind = Literal["ECFP4", "ECFP6", "FCFP4", "FCFP6", "AP"]

USUAL_TOLERANCE = 0.1
"""Of bounds. Half their width, as for other ranges, would pay half for an alkane."""


@dataclass(kw_only=True)
class SimilarityReward(TransformedReward):
    """Tanimoto similarity of unfolded count fingerprints to a reference molecule, in [0, 1].

    With `low` and `high` it is 1 between them and falls outside, so that a molecule is asked to
    keep what the reference has without being a copy of it.
    """

    reference: str | None = None
    """SMILES of the molecule to resemble; None = the one in the sample's prompt
    (`Asked.input`), and NaN for a sample without one."""
    kind: FingerprintKind = "ECFP4"
    """Morgan of radius 2 or 3 with atom (ECFP) or feature (FCFP) invariants, or atom pairs."""
    threshold: float | None = None
    """Similarity from which the reward is 1, proportional below (GuacaMol's clipped score)."""
    low: float | None = None
    """Least similarity that is worth 1; 0 where only `high` is given."""
    high: float | None = None
    """Greatest similarity that is worth 1; 1 where only `low` is given."""
    tolerance: float | None = None
    """Standard deviation of the Gaussians outside the bounds; 0 = a step, None = 0.1."""

    def __post_init__(self) -> None:
        forms = (self.transform, self.threshold, self._bounds)
        if sum(form is not None for form in forms) > 1:
            raise ConfigError("threshold, low and high, transform: more than one form; keep one")
        if self.tolerance is not None and self._bounds is None:
            raise ConfigError("tolerance: goes with low and high; remove it")
        super().__post_init__()
        self._reference = None if self.reference is None else read_smiles(self.reference)
        if self._reference is not None and not self._reference.valid:
            raise ConfigError(
                f"reference: {self._reference.text[:80]!r} is no SMILES "
                f"({self._reference.reason}); correct it"
            )

    @property
    def _bounds(self) -> tuple[float, float] | None:
        if self.low is None and self.high is None:
            return None
        return self.low or 0.0, 1.0 if self.high is None else self.high

    def usual_transform(self) -> Transform:
        if self._bounds is not None:
            low, high = self._bounds
            if not 0 <= low <= high <= 1:
                raise ConfigError(f"low, high: got {low}, {high}, needs 0 <= low <= high <= 1")
            tolerance = USUAL_TOLERANCE if self.tolerance is None else self.tolerance
            return Range(low=low, high=high, tolerance=tolerance)
        if self.threshold is None:
            return float
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"threshold: got {self.threshold}, needs a number in (0, 1]")
        return Linear(low=0.0, high=self.threshold)

    def raw_for(self, molecule: Molecule, sample: Sample) -> float:
        reference = self._reference or input_molecule(sample)
        return math.nan if reference is None else similarity(molecule, reference, self.kind)
