"""experiments/docking: AutoDock Vina answers the reward `external`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rl4bio.rewards.molecules.external import ExternalReward
from rl4bio.types import Sample

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "docking"
ADAMANTYLAMINE, ETHANOL = "NC12CC3CC(CC(C3)C1)C2", "CCO"


def test_the_guest_that_fits_docks_best(tmp_path: Path) -> None:
    """1-adamantylamine fills the cavity of cucurbit[7]uril; ethanol does not."""
    pytest.importorskip("vina")
    pytest.importorskip("meeko")
    reward = ExternalReward(
        command=[
            sys.executable,
            str(FOLDER / "dock.py"),
            "--receptor",
            str(FOLDER / "receptor.pdbqt"),
        ],
        transform={"kind": "reverse_sigmoid", "low": -8, "high": -3},
        cache=str(tmp_path / "scores.jsonl"),
    )
    reward.prepare()
    texts = [ADAMANTYLAMINE, ETHANOL, "C("]
    samples = [Sample(uid="1", prompt="")] * 3
    fits, small, invalid = reward(texts, samples)
    assert fits > 0.4 > small > invalid == 0
    energies = reward.raw_values(texts, samples)[""]
    assert energies[0] < -5 < energies[1] < -1


def test_the_receptor_is_where_its_box_is() -> None:
    """84 atoms (hydrogens of carbon are merged) around the origin, none inside 4.5 angstrom."""
    lines = [
        line for line in (FOLDER / "receptor.pdbqt").read_text().splitlines() if "ATOM" in line[:4]
    ]
    places = [[float(line[k : k + 8]) for k in (30, 38, 46)] for line in lines]
    assert len(places) == 84
    assert min(x * x + y * y + z * z for x, y, z in places) > 4.5**2
    assert all(abs(sum(place[k] for place in places)) < 1.0 for k in range(3))
