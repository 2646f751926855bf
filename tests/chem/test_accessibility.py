"""Synthetic accessibility: RDKit's script below its bend, and no step at the bend."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rdkit import RDConfig

from rl4bio.chem.accessibility import _script, accessibility, raw_accessibility
from rl4bio.chem.reading import read_smiles

EASY = [
    "CCO",
    "c1ccccc1",
    "CC(=O)Oc1ccccc1C(=O)O",
    "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
]
# Raw scores of 8.002 and 8.003, which RDKit's script turns into 1.7 and 2.1.
NEAR = [
    "C=C(C)[C@@H]1C2OC(=O)C1[C@]1(O)CC3O[C@]34C(=O)O[C@H]2[C@@]41C.CC(C)(O)[C@@H]1C2OC(=O)C1[C@]1"
    "(O)C[C@H]3O[C@]34C(=O)O[C@H]2[C@@]41C",
    "C#C[Si]12C[Si]3(CC(=O)C1C3)C1CCCC2S1(=O)=O",
]


@pytest.mark.parametrize("text", EASY)
def test_as_the_script_of_rdkit_up_to_eight(text: str) -> None:
    script = _script(Path(RDConfig.RDContribDir) / "SA_Score")
    mol = read_smiles(text).mol
    assert accessibility(mol) == pytest.approx(script.calculateScore(mol), abs=1e-12)


@pytest.mark.parametrize("text", NEAR)
def test_just_above_eight_is_just_above_eight(text: str) -> None:
    mol = read_smiles(text).mol
    raw = raw_accessibility(mol)
    assert 8 < raw < 8.01
    # 8 + ln(1 + x) is 8 + x for a small x.
    assert accessibility(mol) == pytest.approx(raw, abs=1e-4)
    assert accessibility(mol) == pytest.approx(8 + math.log(raw - 7))
