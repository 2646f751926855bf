"""How a budget of scored molecules is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl4bio.sections.checks import not_negative, positive, require


@dataclass(kw_only=True)
class DiversityConfig:
    """Molecules of a scaffold that was found often enough earn less, as in REINVENT."""

    kind: Literal["murcko", "topological", "similarity"] = "murcko"
    """What is counted together: equal Murcko scaffolds; equal ones with every atom a carbon and
    every bond single; or scaffolds whose atom pairs are similar."""
    bucket_size: int = 25
    """Molecules of a scaffold that are paid; D in the formulas of the penalty."""
    min_score: float = 0.4
    """Total reward from which a molecule counts for its scaffold."""
    penalty: Literal["zero", "linear", "sigmoid", "tanh"] = "zero"
    """How the reward falls with the molecules of the scaffold before it: at once when the bucket is
    full, or softly from the first one on."""
    min_similarity: float = 0.4
    """Of similarity: the Tanimoto similarity from which two scaffolds are one."""

    def __post_init__(self) -> None:
        where = "molecules.diversity"
        positive(where, self, "bucket_size")
        not_negative(where, self, "min_similarity")
        require(
            self.min_similarity <= 1,
            f"{where}.min_similarity",
            f"got {self.min_similarity}, needs at most 1",
        )


@dataclass(kw_only=True)
class SurrogateConfig:
    """A Gaussian process on fingerprints foretells the scores of bred molecules; the promising ones
    are scored. It is fitted before each brood on what `molecules.max_calls` counts."""

    candidates: int = 5
    """Bred for each that is scored."""
    exploration: float = 1.0
    """The best are those of the highest mean + exploration * standard deviation."""
    size: int = 1000
    """Scored molecules that it is fitted on at most: the best half of them, and the latest others.
    The time grows with the cube."""
    noise: float = 0.01
    """Variance that likeness does not explain, as a share of the variance of the scores."""

    def __post_init__(self) -> None:
        where = "molecules.offspring.surrogate"
        positive(where, self, "candidates", "size", "noise")
        not_negative(where, self, "exploration")


@dataclass(kw_only=True)
class OffspringConfig:
    """Molecules bred from the best of `grpo.replay`'s memory, beside those that the policy writes.

    After Graph GA (Jensen, 2019). They are scored like any other, and join the memory, from which
    the policy learns them.
    """

    children: int = 72
    """Bred in a step, over all ranks."""
    brood: int = 24
    """Bred at once; the memory is sorted anew behind each brood."""
    parents: int = 120
    """The best of the memory that are bred from."""
    founders: int = 1
    """Molecules that the memory was offered before the first are bred; of few, all are kin."""
    rank_offset: float = 3.6
    """A parent is drawn with the weight 1 / (rank_offset + rank), rank from 0."""
    crossover: float = 0.8
    """Share of the children that have two parents; the others are mutated copies of one."""
    mutation: float = 0.3
    """Share of the children of two parents that are mutated as well."""
    max_atoms: int = 50
    """Heavy atoms of a child at most."""
    surrogate: SurrogateConfig | None = None
    """Breed more and score those that promise most; null = off, {} = with its defaults. Needs
    molecules.max_calls."""

    def __post_init__(self) -> None:
        where = "molecules.offspring"
        positive(where, self, "children", "brood", "parents", "founders")
        positive(where, self, "rank_offset", "max_atoms")
        not_negative(where, self, "crossover", "mutation")
        for name in ("crossover", "mutation"):
            value = getattr(self, name)
            require(value <= 1, f"{where}.{name}", f"got {value}, needs at most 1")


@dataclass(kw_only=True)
class MoleculesConfig:
    """What a molecule is worth that was written before. Only for rewards that read molecules."""

    batch_repeats: Literal["zero", "keep"] = "zero"
    """Total reward of the second and later copies of a molecule in a batch."""
    seen_before: Literal["zero", "keep"] = "zero"
    """Total reward of a molecule that an earlier step has scored."""
    max_calls: int | None = None
    """Different molecules that may be scored, over all ranks; the run ends there. Repeats, whose
    rewards come from memory, and texts that are no molecule are free. None = no limit."""

    diversity: DiversityConfig | None = None
    """Pay less for scaffolds that were found often enough; null = off, {} = with its defaults."""
    offspring: OffspringConfig | None = None
    """Breed molecules beside the policy; null = off, {} = with its defaults. Needs grpo.replay."""
    inception: str | None = None
    """File of SMILES (.csv, .tsv, .smi, .txt, .gz of them) that are scored in the first step and
    offered to grpo.replay's memory."""

    def __post_init__(self) -> None:
        positive("molecules", self, "max_calls")
