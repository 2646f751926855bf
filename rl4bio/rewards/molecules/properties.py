"""Rewards of one physical or empirical property of the molecule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import MoleculeReward, TransformedReward
from rl4bio.rewards.molecules.transforms import Gaussian, Range, ReverseLinear, Transform


@dataclass(kw_only=True)
class ValidityReward(MoleculeReward):
    """1 for a molecule in the strict sense of `read_smiles`, else 0."""

    def raw(self, molecule: Molecule) -> float:
        return 1.0


@dataclass(kw_only=True)
class PropertyReward(TransformedReward):
    """A property of `rl4bio.chem.properties.PROPERTIES`, transformed."""

    property_name: ClassVar[str]

    def raw(self, molecule: Molecule) -> float:
        return float(PROPERTIES[self.property_name](molecule))


@dataclass(kw_only=True)
class QEDReward(PropertyReward):
    """Quantitative estimate of drug-likeness (Bickerton et al., 2012), as it is: in [0, 1]."""

    property_name: ClassVar[str] = "qed"


@dataclass(kw_only=True)
class SAReward(PropertyReward):
    """Synthetic accessibility (Ertl and Schuffenhauer, 2009): (10 - SA) / 9, so 1 is easy."""

    property_name: ClassVar[str] = "sa"

    def usual_transform(self) -> Transform:
        return ReverseLinear(low=1.0, high=10.0)


@dataclass(kw_only=True)
class RangeReward(PropertyReward):
    """A property that should be near a target or in a range; there is no usual one.

    Exactly one of: `target` with `tolerance` (a Gaussian), `low` with `high` (1 inside, falling as
    a Gaussian of `tolerance` outside, half the width where it is not given), or `transform`.
    """

    target: float | None = None
    tolerance: float | None = None
    low: float | None = None
    high: float | None = None
    example: ClassVar[tuple[int, int]]
    """A range for the error message."""

    def __post_init__(self) -> None:
        shortcuts = (self.target, self.tolerance, self.low, self.high)
        if self.transform is not None and any(given is not None for given in shortcuts):
            raise ConfigError(
                "transform: stands beside target, tolerance, low or high; keep one form"
            )
        super().__post_init__()

    def usual_transform(self) -> Transform:
        if self.target is not None and self.low is None and self.high is None:
            if self.tolerance is None:
                raise ConfigError("tolerance: is needed with target, in the property's unit")
            return Gaussian(target=self.target, tolerance=self.tolerance)
        if self.target is None and self.low is not None and self.high is not None:
            return Range(low=self.low, high=self.high, tolerance=self.tolerance)
        low, high = self.example
        raise ConfigError(
            f"{self.property_name} has no usual direction; give a range such as {{low: {low}, "
            f"high: {high}}}, or target and tolerance, or a transform such as "
            f"{{kind: reverse_sigmoid, low: {low}, high: {high}}}"
        )


@dataclass(kw_only=True)
class LogPReward(RangeReward):
    """Octanol-water partition coefficient after Wildman and Crippen (1999), log10."""

    property_name: ClassVar[str] = "logp"
    example: ClassVar[tuple[int, int]] = (1, 3)


@dataclass(kw_only=True)
class TPSAReward(RangeReward):
    """Topological polar surface area (Ertl et al., 2000), square angstrom."""

    property_name: ClassVar[str] = "tpsa"
    example: ClassVar[tuple[int, int]] = (40, 90)


@dataclass(kw_only=True)
class MolecularWeightReward(RangeReward):
    """Average molecular weight, g/mol."""

    property_name: ClassVar[str] = "molecular_weight"
    example: ClassVar[tuple[int, int]] = (250, 450)
