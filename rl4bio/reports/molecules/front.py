"""The molecules of a Pareto front, drawn, each where its point of the picture leads."""

from __future__ import annotations

from collections.abc import Sequence

from rl4bio.chem.reading import read_smiles
from rl4bio.reports.html.pareto_chart import front_members, pair_text
from rl4bio.reports.html.structures import molecule_grid
from rl4bio.statistics.quantities import Tradeoff

MOST_DRAWN = 24


def front_grid(found: Tradeoff, smiles: Sequence[str]) -> tuple[str, set[int]]:
    """The first members of the front, by rank.

    Args:
        found: n different molecules.
        smiles: n, canonical.

    Returns:
        Their structures as HTML, rank r in a figure `front-r`; and the ranks that are there, from
        1. A SMILES that this RDKit does not read has none.
    """
    molecules, captions, ranks = [], [], []
    for rank, row in enumerate(front_members(found)[:MOST_DRAWN], start=1):
        molecule = read_smiles(smiles[row])
        if molecule.valid:
            molecules.append(molecule)
            captions.append(f"{rank}: {pair_text(found, row)}")
            ranks.append(rank)
    if not ranks:
        return "", set()
    return molecule_grid(molecules, captions, [f"front-{rank}" for rank in ranks]), set(ranks)
