"""What a molecule reward is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rl4bio.answers.asked import Asked
from rl4bio.answers.design import written_smiles
from rl4bio.answers.kinds import asks_for_molecule
from rl4bio.chem.acceptance import broken_rules, build_rules
from rl4bio.chem.properties import heavy_atoms
from rl4bio.chem.reading import MAX_CHARACTERS, MAX_HEAVY_ATOMS, Molecule, read_smiles
from rl4bio.rewards.base import Reward
from rl4bio.rewards.molecules.transforms import Transform, build_transform
from rl4bio.types import Sample

LIMITS = ("max_characters", "min_heavy_atoms", "max_heavy_atoms", "max_fragments", "rules")
"""Options of every molecule reward that make a molecule invalid."""


@dataclass(kw_only=True)
class MoleculeReward(Reward):
    """A number of the molecule that a completion spells: `value(raw(molecule))`, in [0, 1].

    What is no molecule in the strict sense of `read_smiles` scores 0: it is a bad answer, not a
    failure of the scorer. A sample that asks for something else, such as a letter, gets NaN. A
    subclass defines `raw` (or `raw_for` where it reads the sample), and `value` where raw is not in
    [0, 1].
    """

    max_characters: int = MAX_CHARACTERS
    """Longer SMILES are invalid."""
    min_heavy_atoms: int | None = None
    """Smaller molecules are invalid, such as C, which has many a good property; None = any size."""
    max_heavy_atoms: int = MAX_HEAVY_ATOMS
    """Larger molecules are invalid."""
    max_fragments: int | None = None
    """Molecules of more fragments ("CCO.Cl" has two) are invalid; None = any number."""
    rules: Any = None
    """What a chemist accepts as a design (`rl4bio.chem.acceptance.Rules`); others are invalid, for
    the rule that they break. standard; none; or the rules that differ, {unstable: false}. None =
    none, as the definitions of benchmarks ask."""
    reads_molecules: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in LIMITS:
            limit = getattr(self, name)
            if name != "rules" and limit is not None and limit < 1:
                raise ValueError(f"{name}: got {limit}, needs at least 1")
        self._rules = build_rules(self.rules)

    def molecule(self, completion: str, sample: Sample) -> Molecule:
        """The molecule that a completion writes; see `written_smiles`.

        It is invalid where the sample asks for none, so that no batch counts it.
        """
        if not asks_for_molecule(sample):
            return _invalid(completion, "other task")
        molecule = read_smiles(
            written_smiles(completion, sample),
            max_characters=self.max_characters,
            max_heavy_atoms=self.max_heavy_atoms,
        )
        if self.max_fragments is not None and molecule.canonical.count(".") >= self.max_fragments:
            return _invalid(molecule.text, "fragments")
        least = self.min_heavy_atoms
        if least is not None and molecule.valid and heavy_atoms(molecule) < least:
            return _invalid(molecule.text, "too few atoms")
        if self._rules is not None and molecule.valid:
            broken = broken_rules(molecule, self._rules)
            return _invalid(molecule.text, broken[0]) if broken else molecule
        return molecule

    def raw(self, molecule: Molecule) -> float:
        """A valid molecule's property in its own unit; NaN where it has none."""
        raise RuntimeError(f"{type(self).__name__} does not define raw")

    def raw_for(self, molecule: Molecule, sample: Sample) -> float:
        """The same, given the sample that the molecule answers."""
        return self.raw(molecule)

    def value(self, raw: float) -> float:
        """The reward in [0, 1] of a raw value that is not NaN."""
        return raw

    def score(self, completion: str, sample: Sample) -> float:
        molecule = self.molecule(completion, sample)
        raw = self.raw_for(molecule, sample) if molecule.valid else math.nan
        return self.reward_of(molecule, sample, raw)

    def reward_of(self, molecule: Molecule, sample: Sample, raw: float) -> float:
        """The reward of a molecule, valid or not, from its raw value."""
        if not molecule.valid:
            return 0.0 if asks_for_molecule(sample) else math.nan
        return math.nan if math.isnan(raw) else self.value(raw)

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        pairs = zip(self.molecules(completions, samples), samples, strict=True)
        return {"": [self.raw_for(m, s) if m.valid else math.nan for m, s in pairs]}

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
        rows = zip(molecules, samples, self.raws(molecules, samples), strict=True)
        return [self.reward_of(molecule, sample, raw) for molecule, sample, raw in rows]

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        return {"": self.raws(self.molecules(completions, samples), samples)}


def input_molecule(sample: Sample) -> Molecule | None:
    """The molecule that the sample's prompt gives, `Asked.input`; None where that is "".

    Raises:
        ValueError: it is no SMILES, or the corpus is one whose prompts give none.
    """
    text = Asked.of(sample).input
    if text is None:
        raise ValueError(
            f"sample {sample.uid}: this corpus has no input molecules; name the molecules to "
            "compare with in the reward's options"
        )
    if not text:
        return None
    molecule = read_smiles(text)
    if not molecule.valid:
        raise ValueError(
            f"sample {sample.uid}: input {text[:80]!r} is no SMILES ({molecule.reason}); "
            "leave the row out"
        )
    return molecule


def _invalid(text: str, reason: str) -> Molecule:
    return Molecule(text=text, canonical="", mol=None, reason=reason)
