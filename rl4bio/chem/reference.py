"""A fixed subset of the molecules that written ones are compared with."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rl4bio.chem.reading import Molecule, read_smiles

SUBSET_SIZE = 2_000
"""Molecules that nearest neighbours are looked for in, at most."""


def reference_subset(smiles: Sequence[str], *, size: int = SUBSET_SIZE) -> list[Molecule]:
    """The valid molecules among `size` rows, in their order.

    The rows depend on the number of rows and on `size` alone, not on the seed of a run, so that
    runs with one reference compare with the same molecules.
    """
    rows = range(len(smiles))
    chosen = sorted(random.Random(0).sample(rows, min(size, len(rows))))
    return [molecule for k in chosen if (molecule := read_smiles(smiles[k])).valid]
