"""Made-up molecules with computed labels."""

from __future__ import annotations

import random

import pytest

from rl4bio.chem.properties import scaffold, tpsa
from rl4bio.chem.reading import read_smiles
from rl4bio.data.synthetic.analogues import (
    CORES,
    MAX_POLAR_SURFACE,
    SIDES,
    analogue,
    analogue_rows,
    draw_analogues,
    molecule_features,
)
from rl4bio.errors import DataError


def test_every_core_and_side_group_makes_a_molecule() -> None:
    for core in CORES:
        for side in SIDES:
            assert analogue(core, side, "C").valid, (core, side)
            assert analogue(core, "C", side).valid, (core, side)


def test_cores_have_scaffolds_of_their_own() -> None:
    assert len({scaffold(analogue(core, "C", "C")) for core in CORES}) >= len(CORES) - 2


def test_the_draw_depends_on_the_seed_alone_and_repeats_no_molecule() -> None:
    first = [m.canonical for m in draw_analogues(random.Random(3), 300)]
    assert first == [m.canonical for m in draw_analogues(random.Random(3), 300)]
    assert first != [m.canonical for m in draw_analogues(random.Random(4), 300)]
    assert len(set(first)) == 300


def test_labels_are_those_of_the_rule() -> None:
    rows = analogue_rows("Analogue_Barrier", size=400)
    surfaces = [tpsa(read_smiles(row["smiles"])) for row in rows]
    assert [row["y"] for row in rows] == [int(s < MAX_POLAR_SURFACE) for s in surfaces]
    assert 0.3 < sum(row["y"] for row in rows) / 400 < 0.5


def test_the_note_on_a_molecule() -> None:
    # Acetylsalicylic acid: four oxygens, one ring, 63.6 square angstrom.
    note = molecule_features(read_smiles("CC(=O)Oc1ccccc1C(=O)O"))
    assert note == "oxygen 4, rings 1; polar surface about 60"


def test_a_note_shows_on_which_side_of_the_rule_a_molecule_is() -> None:
    for row in analogue_rows("Analogue_Barrier", size=400):
        about = int(row["reasoning"].rpartition(" ")[2])
        surface = tpsa(read_smiles(row["smiles"]))
        if surface != MAX_POLAR_SURFACE:  # which would be rounded either way
            assert (about < MAX_POLAR_SURFACE) == bool(row["y"])


def test_design_has_no_label() -> None:
    assert set(analogue_rows("Analogue_Design", size=2)[0]) == {"smiles", "reasoning"}


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(DataError, match="did you mean 'Analogue_Barrier'"):
        analogue_rows("Analogue_Barier")
