"""How varied a set of molecules is, and how new, as MOSES measures it (Polykovskiy et al., 2020).

All over the valid molecules of a set, repeats included unless said; NaN where the set is empty.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rl4bio.chem.fingerprints import bulk_tanimoto
from rl4bio.chem.properties import rings, scaffold
from rl4bio.chem.reading import Molecule


def internal_diversity(fingerprints: Sequence[Any], *, p: int = 1) -> float:
    """IntDiv_p = 1 - (mean of T(a, b)^p over all ordered pairs)^(1/p), in [0, 1).

    This is the paper's formula. MOSES' code takes the root of each molecule's own mean before it
    averages over molecules, which is the same for p = 1 and slightly more diverse for p = 2.

    The pairs of a molecule with itself are among them, as in MOSES: n different molecules reach
    1 - 1/n at most. With the pair sums in one triangle it takes n(n-1)/2 similarities.

    Args:
        fingerprints: MOSES takes `folded_ecfp4`.
        p: 1 or 2.
    """
    n = len(fingerprints)
    if n == 0:
        return math.nan
    above = math.fsum(
        value**p for i in range(1, n) for value in bulk_tanimoto(fingerprints[i], fingerprints[:i])
    )
    return float(1 - ((2 * above + n) / n**2) ** (1 / p))


def snn(fingerprints: Sequence[Any], reference: Sequence[Any]) -> float:
    """Similarity to the nearest neighbour in a reference set, averaged; in [0, 1].

    Args:
        fingerprints: of the set; MOSES takes `folded_ecfp4`.
        reference: of the reference set, of the same kind.
    """
    if not fingerprints or not reference:
        return math.nan
    nearest = [max(bulk_tanimoto(one, reference)) for one in fingerprints]
    return math.fsum(nearest) / len(nearest)


def unique_fraction(canonicals: Sequence[str], *, first: int | None = None) -> float:
    """Different molecules over molecules: MOSES' unique@k.

    Args:
        canonicals: canonical SMILES; "" (invalid) is left out.
        first: k, the number of valid molecules to look at; all of them by default.
    """
    valid = [text for text in canonicals if text][:first]
    return len(set(valid)) / len(valid) if valid else math.nan


def scaffold_counts(molecules: Iterable[Molecule], *, min_rings: int = 2) -> Counter[str]:
    """How often each Bemis-Murcko scaffold occurs among the valid molecules.

    Args:
        molecules: invalid ones are left out.
        min_rings: molecules with fewer rings have no scaffold; MOSES asks for 2.
    """
    valid = (molecule for molecule in molecules if molecule.valid)
    return Counter(scaffold(molecule) for molecule in valid if rings(molecule) >= max(min_rings, 1))


def scaffold_diversity(molecules: Sequence[Molecule]) -> float:
    """Different scaffolds of at least one ring over valid molecules, in [0, 1]."""
    valid = [molecule for molecule in molecules if molecule.valid]
    return len(scaffold_counts(valid, min_rings=1)) / len(valid) if valid else math.nan
