"""Splits of molecules."""

from __future__ import annotations

import pytest

from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.splits import SplitKind, split_groups

CORES = ["c1ccccc1", "c1ccncc1", "C1CCCCC1", "c1ccsc1", "C1CCNCC1", "c1ccc2ccccc2c1"]
MOLECULES = [read_smiles(side + core) for core in CORES for side in ("C", "CC", "CO", "N", "OCC")]
ACYCLIC = [read_smiles("C" * n) for n in range(1, 11)]


def names(molecules: list[Molecule], rows: list[int], kind: SplitKind) -> set[str]:
    picked = [molecules[row] for row in rows]
    return {scaffold(m) if kind == "scaffold" else m.canonical for m in picked}


@pytest.mark.parametrize("kind", ["random", "scaffold"])
def test_every_row_is_in_one_part_and_no_group_in_two(kind: SplitKind) -> None:
    molecules = [*MOLECULES, *MOLECULES[:7], read_smiles("C(C)c1ccccc1")]
    parts = split_groups(molecules, [0.35, 0.35], kind=kind, seed=3)
    assert sorted(row for part in parts for row in part) == list(range(len(molecules)))
    found = [names(molecules, part, kind) for part in parts]
    assert not found[0] & found[1]
    assert not (found[0] | found[1]) & found[2]
    assert all(found)


def test_random_parts_have_their_share() -> None:
    parts = split_groups(ACYCLIC, [0.1, 0.2], kind="random", seed=0)
    assert [len(part) for part in parts] == [1, 2, 7]


def test_a_large_series_stays_in_the_rest() -> None:
    molecules = [*MOLECULES[:5], *ACYCLIC]  # five toluenes, ten acyclic molecules of their own
    parts = split_groups(molecules, [0.3], kind="scaffold", seed=0)
    for seed in range(20):
        parts = split_groups(molecules, [0.3], kind="scaffold", seed=seed)
        assert not set(parts[0]) & set(range(5))  # 5 > half of 0.3 * 15


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    first = split_groups(MOLECULES, [0.3], kind="random", seed=1)
    assert first == split_groups(MOLECULES, [0.3], kind="random", seed=1)
    assert first != split_groups(MOLECULES, [0.3], kind="random", seed=2)
    turned = MOLECULES[::-1]
    again = split_groups(turned, [0.3], kind="random", seed=1)
    assert names(MOLECULES, first[0], "random") == names(turned, again[0], "random")
