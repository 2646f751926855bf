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
    names = [
        (scaffold(molecule) if kind == "scaffold" else "") or molecule.canonical
        for molecule in molecules
    ]
    return split_names(names, fractions, seed=seed, spread=kind == "scaffold")


def split_names(
    names: Sequence[str], fractions: Sequence[float], *, seed: int, spread: bool = False
) -> list[list[int]]:
    """As `split_groups`, of rows whose groups have names already.

    Args:
        names: of the group of each row.
        fractions: of each held-out part.
        seed: of the order of groups.
        spread: a group of more than half a part's share goes to the rest.
    """
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        groups.setdefault(name, []).append(row)
    order = sorted(groups)
    random.Random(f"split/{seed}").shuffle(order)
    parts: list[list[int]] = [[] for _ in fractions]
    wanted = [round(share * len(names)) for share in fractions]
    rest: list[int] = []
    for name in order:
        rows = groups[name]
        place = next((n for n, part in enumerate(parts) if len(part) < wanted[n]), None)
        if place is None or (spread and 2 * len(rows) > wanted[place]):
            rest += rows
        else:
            parts[place] += rows
    return [sorted(part) for part in (*parts, rest)]
