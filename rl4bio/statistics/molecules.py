"""What a set of written molecules is like: valid, distinct, new, diverse, drug-like, rewarded.

Validity, unique@n, novelty, IntDiv, SNN and scaffold diversity follow MOSES (Polykovskiy et al.,
2020, arXiv:1811.12823): IntDiv and SNN run over all valid molecules, copies included, on ECFP4 of
1,024 bits. Copies are those of one parent (`rl4bio.chem.identity`), which for molecules as MOSES
has them is one canonical SMILES. Two departures: unique@n is taken over all n texts, and SNN looks
for the nearest neighbour in a fixed subset of the reference, so it is lower than against the whole
of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rl4bio.chem.acceptance import RULES, broken_rules
from rl4bio.chem.diversity import internal_diversity, scaffold_diversity, snn, unique_fraction
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.identity import same_name
from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.reference import reference_subset
from rl4bio.statistics.bootstrap import Estimate, estimate, mean_statistic
from rl4bio.statistics.goals import hit_flags, inside_flags, quantity_values
from rl4bio.statistics.labels import IndexStatistic
from rl4bio.types import ScoreTable

SHOWN_PROPERTIES = ("qed", "logp", "sa", "tpsa", "molecular_weight")
"""The properties that a summary holds, by their name in `rl4bio.chem.properties`."""
HIGH_QED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class MoleculeSummary:
    """Numbers of n written molecules; shares in [0, 1], NaN where undefined."""

    num_molecules: int
    """n, all texts, valid or not."""
    validity: Estimate
    unique: float
    """Distinct parents over valid molecules (unique@n)."""
    novelty: Estimate
    """Share of the distinct molecules that the reference does not hold."""
    internal_diversity: float
    """IntDiv1, 1 - mean pairwise Tanimoto."""
    snn: float
    """Mean similarity to the nearest molecule of the reference's subset."""
    scaffold_diversity: float
    """Distinct Bemis-Murcko scaffolds of at least one ring over valid molecules."""
    high_qed: Estimate
    """Share of the valid molecules with a QED above 0.9."""
    properties: dict[str, Estimate]
    """Means over the valid molecules."""
    refused: dict[str, Estimate]
    """Share of the valid molecules that a chemist would refuse: any, and by the name of each
    standard rule of `rl4bio.chem.acceptance` that some molecule breaks."""
    reward_all: Estimate
    """Mean total reward, an invalid text counted as 0."""
    reward_valid: Estimate
    """Mean total reward of the valid molecules."""
    rewards: dict[str, Estimate]
    """Mean of each reward over all texts."""
    raw: dict[str, Estimate]
    """Mean of what rewards were made from, in its own unit, over the distinct valid molecules; of a
    prediction over those inside the domain of its predictor."""
    inside: dict[str, Estimate]
    """Share of the distinct valid molecules inside the domain, of each such prediction."""
    hits: Estimate
    """Distinct molecules that reach every goal, inside the domains of its predictions, over all
    texts; NaN without goals."""
    num_reference: int
    """Valid reference molecules that novelty compares with; 0 = no reference."""
    num_subset: int
    """Reference molecules that SNN compares with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceMolecules:
    """The molecules that others are compared with, read once for several summaries."""

    parents: frozenset[str]
    subset: list[Molecule]
    """Of `rl4bio.chem.reference`: at most 2,000 of them."""


def read_reference(smiles: Sequence[str]) -> ReferenceMolecules:
    """The valid molecules of a reference, as parents, and its fixed subset.

    Args:
        smiles: any order; invalid ones are left out.
    """
    return ReferenceMolecules(
        parents=frozenset(filter(None, (same_name(read_smiles(text)) for text in smiles))),
        subset=reference_subset(smiles),
    )


def summarize_molecules(
    texts: Sequence[str],
    *,
    reference: Sequence[str] | ReferenceMolecules | None = None,
    rounds: int,
    seed: int,
    scores: ScoreTable | None = None,
    goals: Mapping[str, Sequence[float | None]] | None = None,
) -> MoleculeSummary:
    """All numbers of one model's molecules; the same arguments give the same numbers.

    Args:
        texts: n SMILES as they were written.
        reference: what the model was trained on, as SMILES or read already; None = novelty and SNN
            are undefined.
        rounds: resamples of the 95% bootstrap intervals.
        seed: of the intervals.
        scores: rewards of the texts, where there are any.
        goals: raw value or property -> [lowest, highest], None for no limit, of a hit.

    Raises:
        ConfigError: a goal's name is unknown.
    """
    if reference is not None and not isinstance(reference, ReferenceMolecules):
        reference = read_reference(reference)
    molecules = [read_smiles(text) for text in texts]
    valid = [molecule for molecule in molecules if molecule.valid]
    distinct: dict[str, int] = {}
    """Name of a molecule -> the first row that writes it."""
    for row, molecule in enumerate(molecules):
        if molecule.valid:
            distinct.setdefault(same_name(molecule), row)
    values = {name: [float(PROPERTIES[name](m)) for m in valid] for name in SHOWN_PROPERTIES}
    known = frozenset() if reference is None else reference.parents
    subset = [] if reference is None else reference.subset
    fingerprints = [folded_ecfp4(molecule) for molecule in valid]

    def mean(items: Sequence[float]) -> Estimate:
        statistic: IndexStatistic = mean_statistic(items)
        return estimate(statistic, size=len(items), seed=seed, rounds=rounds)

    raw = {} if scores is None else scores.raw
    first = list(distinct.values())
    totals = [math.nan] * len(texts) if scores is None else scores.total
    pairs = list(zip(molecules, totals, strict=True))
    return MoleculeSummary(
        num_molecules=len(texts),
        validity=mean([molecule.valid for molecule in molecules]),
        unique=unique_fraction([same_name(molecule) for molecule in valid]),
        novelty=mean([smiles not in known for smiles in distinct] if known else []),
        internal_diversity=internal_diversity(fingerprints),
        snn=snn(fingerprints, [folded_ecfp4(molecule) for molecule in subset]),
        scaffold_diversity=scaffold_diversity(valid),
        high_qed=mean([value > HIGH_QED for value in values["qed"]]),
        properties={name: mean(column) for name, column in values.items()},
        refused={name: mean(flags) for name, flags in refused_flags(valid).items()},
        reward_all=mean([] if scores is None else [t if m.valid else 0.0 for m, t in pairs]),
        reward_valid=mean([total for molecule, total in pairs if molecule.valid]),
        rewards={} if scores is None else {n: mean(v) for n, v in scores.parts.items()},
        raw={k: mean(v) for k, v in quantity_values(raw, first).items()},
        inside={k: mean(v) for k, v in inside_flags(raw, first).items()},
        hits=mean(hit_flags(molecules, first, raw, goals) if goals else []),
        num_reference=len(known),
        num_subset=len(subset),
    )


def refused_flags(valid: Sequence[Molecule]) -> dict[str, list[bool]]:
    """Whether each valid molecule breaks any standard rule, and each rule that one of them does."""
    broken = [broken_rules(molecule) for molecule in valid]
    names = [name for name in RULES if any(name in one for one in broken)]
    return {"any": [bool(one) for one in broken]} | {
        name: [name in one for one in broken] for name in names
    }
