"""What a molecule reward is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rl4bio.answer_block import written_smiles
from rl4bio.chem.reading import MAX_CHARACTERS, MAX_HEAVY_ATOMS, Molecule, read_smiles
from rl4bio.rewards.base import Reward
from rl4bio.rewards.molecules.transforms import Transform, build_transform
from rl4bio.types import Sample

LIMITS = ("max_characters", "max_heavy_atoms", "max_fragments")
"""Options of every molecule reward that make a molecule invalid."""


@dataclass(kw_only=True)
class MoleculeReward(Reward):
    """A number of the molecule that a completion spells: `value(raw(molecule))`, in [0, 1].

    What is no molecule in the strict sense of `read_smiles` scores 0: it is a bad answer, not a
    failure of the scorer. A subclass defines `raw`, and `value` where raw is not in [0, 1].
    """

    max_characters: int = MAX_CHARACTERS
    """Longer SMILES are invalid."""
    max_heavy_atoms: int = MAX_HEAVY_ATOMS
    """Larger molecules are invalid."""
    max_fragments: int | None = None
    """Molecules of more fragments ("CCO.Cl" has two) are invalid; None = any number."""
    reads_molecules: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in LIMITS:
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name}: got {limit}, needs at least 1")

    def molecule(self, completion: str, sample: Sample) -> Molecule:
        """The molecule that a completion writes; see `written_smiles`."""
        molecule = read_smiles(
            written_smiles(completion, sample),
            max_characters=self.max_characters,
            max_heavy_atoms=self.max_heavy_atoms,
        )
        if self.max_fragments is not None and molecule.canonical.count(".") >= self.max_fragments:
            return Molecule(text=molecule.text, canonical="", mol=None, reason="fragments")
        return molecule

    def raw(self, molecule: Molecule) -> float:
        """A valid molecule's property in its own unit; NaN where it has none."""
        raise RuntimeError(f"{type(self).__name__} does not define raw")

    def value(self, raw: float) -> float:
        """The reward in [0, 1] of a raw value that is not NaN."""
        return raw

    def score(self, completion: str, sample: Sample) -> float:
        return self._value_of(self.molecule(completion, sample))

    def _value_of(self, molecule: Molecule) -> float:
        if not molecule.valid:
            return 0.0
        raw = self.raw(molecule)
        return math.nan if math.isnan(raw) else self.value(raw)

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        molecules = self.molecules(completions, samples)
        return {"": [self.raw(m) if m.valid else math.nan for m in molecules]}

    def molecules(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[Molecule]:
        """The molecules of N completions, valid or not."""
        return [self.molecule(c, s) for c, s in zip(completions, samples, strict=True)]


@dataclass(kw_only=True)
class TransformedReward(MoleculeReward):
    """A molecule reward whose raw value passes through a configurable transform."""

    transform: dict[str, Any] | None = None
    """{kind: sigmoid, low: ..., high: ...}; see rl4bio/rewards/molecules/transforms.py."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.transform
        self._transform = self.usual_transform() if given is None else build_transform(given)

    def usual_transform(self) -> Transform:
        """What maps raw to [0, 1] where the configuration names no transform.

        Raises:
            ConfigError: there is no usual one; the message says what to write.
        """
        return float

    def value(self, raw: float) -> float:
        return self._transform(raw)


@dataclass(kw_only=True)
class BatchMoleculeReward(MoleculeReward):
    """A molecule reward that depends on the other molecules of the batch."""

    def raws(self, molecules: Sequence[Molecule], samples: Sequence[Sample]) -> list[float]:
        """The raw values of a whole batch, N floats; NaN where a molecule is invalid."""
        raise RuntimeError(f"{type(self).__name__} does not define raws")

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        molecules = self.molecules(completions, samples)
        raws = self.raws(molecules, samples)
        pairs = zip(molecules, raws, strict=True)
        return [self.value(raw) if molecule.valid else 0.0 for molecule, raw in pairs]

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        return {"": self.raws(self.molecules(completions, samples), samples)}
