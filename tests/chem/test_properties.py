"""Properties against published columns, hand counts, and RDKit's missing Contrib folder."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from rl4bio.chem import accessibility, properties
from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import MissingPackageError

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def test_columns_of_real_molecules(shared_data: Path) -> None:
    with gzip.open(shared_data / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))[::375]
    assert len(rows) == 200
    for row in rows:
        molecule = read_smiles(row["smiles"])
        assert f"{properties.qed(molecule):.4f}" == row["qed"]
        assert f"{properties.sa(molecule):.4f}" == row["sas"]
        assert f"{properties.logp(molecule):.4f}" == row["logp"]
        assert f"{properties.tpsa(molecule):.2f}" == row["tpsa"]
        assert properties.scaffold(molecule) == row["scaffold_smiles"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("molecular_weight", "O", 2 * 1.008 + 15.999),
        ("heavy_atoms", ASPIRIN, 13),
        ("rings", "C1CC2CCC1C2", 2),  # norbornane: 8 bonds - 7 atoms + 1
        ("rings", "CCO", 0),
        ("aromatic_rings", "c1ccc2CCCCc2c1", 1),
        ("rotatable_bonds", "CCCC", 1),
        ("tpsa", "CCCC", 0.0),
        ("tpsa", "CO", 20.23),  # the hydroxyl contribution of Ertl's table
        ("bertz", "C", 0.0),
        ("lipinski_violations", ASPIRIN, 0),
        ("lipinski_violations", "C" * 40, 2),  # 40 carbons: weight 563 and logP above 5
        ("lipinski_violations", "OC" * 8 + "O", 0),  # 9 O of at most 10, 2 O-H
        ("lipinski_violations", "O" + "C(O)" * 6 + "O", 1),  # 8 O-H
        ("pains_alerts", ASPIRIN, 0),
        ("pains_alerts", "O=C1C=CC(=O)C=C1", 1),  # a quinone
    ],
)
def test_counts_by_hand(name: str, text: str, expected: float) -> None:
    assert PROPERTIES[name](read_smiles(text)) == pytest.approx(expected, abs=1e-9)


def test_every_property_is_one_number_whatever_the_spelling() -> None:
    other = read_smiles("OC(=O)C1=CC=CC=C1OC(C)=O")
    aspirin = read_smiles(ASPIRIN)
    assert other.memo is aspirin.memo
    for name, function in PROPERTIES.items():
        aspirin.memo.clear()
        first = function(aspirin)
        assert aspirin.memo[name] == first
        aspirin.memo.clear()
        assert function(other) == pytest.approx(first, rel=1e-9), name


def test_scaffolds_lose_side_chains_and_stereochemistry() -> None:
    assert properties.scaffold(read_smiles("CCO")) == ""
    assert properties.scaffold(read_smiles(ASPIRIN)) == "c1ccccc1"
    menthone = read_smiles("C[C@@H]1CC[C@H](C(=O)C1)C(C)C")
    assert properties.scaffold(menthone) == "O=C1CCCCC1"
    fused = read_smiles("O[C@@H]1CCC[C@H]2CCCC[C@@H]12")  # both ring fusions stay stereocentres
    assert properties.scaffold(fused) == "C1CCC2CCCCC2C1"
    linked = read_smiles("C1CC1[C@H](O)C1CC1")
    assert properties.scaffold(linked) == "C1CC1CC1CC1"


def test_synthetic_accessibility_orders_and_is_bounded() -> None:
    easy, hard = read_smiles("CCO"), read_smiles("C1C2CC3CC1CC(C2)C31OC11C2CC3CC(C2)CC1C3")
    assert 1 <= properties.sa(easy) < 2.5 < properties.sa(hard) <= 10


def test_an_rdkit_without_contrib_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accessibility.RDConfig, "RDContribDir", str(tmp_path))
    with pytest.raises(MissingPackageError, match=f"looked in {tmp_path}/SA_Score") as caught:
        properties.sa(read_smiles("CCCCCCCCCCN"))
    assert "\n" not in str(caught.value)


def test_an_invalid_molecule_has_no_properties() -> None:
    for function in PROPERTIES.values():
        with pytest.raises(ValueError, match=r"is no molecule \(syntax\)"):
            function(read_smiles("c1ccc"))
