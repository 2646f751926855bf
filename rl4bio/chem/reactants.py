"""Sets of reactants: are they the same, and if not, how alike?"""

from __future__ import annotations

from collections.abc import Sequence

from rl4bio.chem.fingerprints import similarity
from rl4bio.chem.reading import Molecule, read_smiles

MAX_PARTS = 8
"""Of the smaller of two sets that are compared; a reaction of the patents has 2 or 3 reactants."""


def read_reactants(text: str) -> tuple[Molecule, ...]:
    """The molecules of a dot-separated SMILES, by canonical SMILES; () where it is invalid.

    Atom map numbers go. Parts without an atom other than hydrogen, such as a hydride, are left out.
    Ring bonds across a dot ("C1.C1") are read as what they are: one molecule.
    """
    whole = read_smiles(text)
    parts = [read_smiles(part) for part in sorted(whole.canonical.split("."))]
    return tuple(part for part in parts if part.valid)


def same_reactants(first: Sequence[Molecule], second: Sequence[Molecule]) -> bool:
    """Whether two sets hold the same molecules, each as often; stereochemistry counts."""
    return sorted(m.canonical for m in first) == sorted(m.canonical for m in second)


def reactant_similarity(first: Sequence[Molecule], second: Sequence[Molecule]) -> float:
    """Likeness of two sets in [0, 1]: the best one-to-one matching of their molecules.

    max over matchings of sum of s(a, b) / max(|first|, |second|), s the Tanimoto similarity of
    ECFP4 counts. Each molecule is matched once, so that neither listing a good one twice nor adding
    others raises it. Symmetric; 1 where all pairs have equal fingerprints, 0 for an empty set, and
    where both sets have more than MAX_PARTS molecules.
    """
    few, many = sorted((first, second), key=len)
    if not few or len(few) > MAX_PARTS:
        return 0.0
    # best[mask]: the largest sum with the molecules of `few` in the mask matched.
    best = [0.0] + [-1.0] * (2 ** len(few) - 1)
    for molecule in many:
        likeness = [similarity(molecule, other, "ECFP4") for other in few]
        for mask in range(len(best) - 1, 0, -1):  # downwards: each of `many` is used once
            for place, value in enumerate(likeness):
                before = mask & ~(1 << place)
                if before != mask and best[before] >= 0:
                    best[mask] = max(best[mask], best[before] + value)
    return min(1.0, max(best) / len(many))


def copied_similarity(given: Sequence[Molecule], wanted: Sequence[Molecule]) -> float:
    """The most that copies of given molecules reach: the mean of each wanted one's nearest.

    No number of copies has a higher `reactant_similarity` to the wanted set.
    """
    if not given or not wanted:
        return 0.0
    nearest = [max(similarity(w, g, "ECFP4") for g in given) for w in wanted]
    return sum(nearest) / len(nearest)
