"""Rules about substructures and counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from rl4bio.chem.patterns import has_pattern, read_smarts
from rl4bio.chem.properties import lipinski_violations, pains_alerts
from rl4bio.chem.reading import Molecule
from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.base import MoleculeReward

LIPINSKI_RULES = 4


@dataclass(kw_only=True)
class SmartsReward(MoleculeReward):
    """Wanted substructures that are there and unwanted ones that are not, as SMARTS.

    The raw value is the share of all listed conditions that hold.
    """

    may_hang: ClassVar[bool] = True  # a pattern of wildcards on a grid of rings takes hours
    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    stereo: bool = True
    """Whether stereochemistry that a SMARTS spells, such as [C@H], must be there."""
    mode: Literal["all", "any", "share"] = "all"
    """1 if all conditions hold; 1 if at least one holds; or the share that holds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.present and not self.absent:
            raise ConfigError("present: is empty; list SMARTS under present, absent or both")
        for name in ("present", "absent"):
            for index, text in enumerate(getattr(self, name)):
                try:
                    read_smarts(text)
                except ValueError as error:
                    raise ConfigError(f"{name}[{index}]: {error}; repair it") from None

    def raw(self, molecule: Molecule) -> float:
        kept = [has_pattern(molecule, text, stereo=self.stereo) for text in self.present]
        kept += [not has_pattern(molecule, text, stereo=self.stereo) for text in self.absent]
        return sum(kept) / len(kept)

    def value(self, raw: float) -> float:
        if self.mode == "share":
            return raw
        return float(raw == 1) if self.mode == "all" else float(raw > 0)


@dataclass(kw_only=True)
class LipinskiReward(MoleculeReward):
    """Lipinski's rule of five (1997): weight, logP, hydrogen bond donors and acceptors.

    The share of the four rules that are kept; or, with `allowed`, 1 for at most so many violations
    (Lipinski allowed 1), else 0. The raw value is the number of violations.
    """

    allowed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allowed is not None and not 0 <= self.allowed < LIPINSKI_RULES:
            raise ValueError(f"allowed: got {self.allowed}, needs 0 to {LIPINSKI_RULES - 1}")

    def raw(self, molecule: Molecule) -> float:
        return float(lipinski_violations(molecule))

    def value(self, raw: float) -> float:
        if self.allowed is not None:
            return float(raw <= self.allowed)
        return 1 - raw / LIPINSKI_RULES


@dataclass(kw_only=True)
class PainsReward(MoleculeReward):
    """1 without a pan-assay interference pattern (Baell and Holloway, 2010), else 0.

    The raw value is the number of alerts.
    """

    def raw(self, molecule: Molecule) -> float:
        return float(pains_alerts(molecule))

    def value(self, raw: float) -> float:
        return float(raw == 0)
