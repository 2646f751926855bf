"""Splits of molecules: by chance, or so that no scaffold is on both sides."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import Molecule

SplitKind = Literal["random", "scaffold"]


def split_groups(
    molecules: Sequence[Molecule], fractions: Sequence[float], *, kind: SplitKind, seed: int
) -> list[list[int]]:
    """Row numbers of the held-out parts and, last, of the rest; no group is in two parts.

    A group holds the rows of one canonical SMILES (random) or of one Bemis-Murcko scaffold
    (scaffold; acyclic molecules, which have none, are groups by canonical SMILES). Groups come in
    an order fixed by their names and the seed, and a part takes groups until it has its share of
    rows; a group of more than half a part's share goes to the rest, so that one large series does
    not make up a test set.

    Args:
        molecules: valid ones.
        fractions: of each held-out part, in [0, 1), together below 1.
        kind: of the groups.
        seed: of the order.

    Returns:
        len(fractions) + 1 lists, each in the order of the rows.
    """
    groups: dict[str, list[int]] = {}
    for row, molecule in enumerate(molecules):
        name = scaffold(molecule) if kind == "scaffold" else ""
        groups.setdefault(name or molecule.canonical, []).append(row)
    names = sorted(groups)
    random.Random(f"split/{seed}").shuffle(names)
    parts: list[list[int]] = [[] for _ in fractions]
    wanted = [round(share * len(molecules)) for share in fractions]
    rest: list[int] = []
    for name in names:
        rows = groups[name]
        place = next((n for n, part in enumerate(parts) if len(part) < wanted[n]), None)
        if place is None or (kind == "scaffold" and 2 * len(rows) > wanted[place]):
            rest += rows
        else:
            parts[place] += rows
    return [sorted(part) for part in (*parts, rest)]
