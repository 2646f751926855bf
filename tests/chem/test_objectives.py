"""The objectives against golden values of the GuacaMol package, and their pieces by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import Crippen, GraphDescriptors

from rl4bio.chem import objectives
from rl4bio.chem.objectives import OBJECTIVES, contains, element_counts, isomer_score, lacks
from rl4bio.chem.reading import Molecule, read_smiles

SITAGLIPTIN = "NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F"  # as GuacaMol's valsartan has it


def read(text: str) -> Molecule:
    molecule = read_smiles(text)
    assert molecule.valid
    return molecule


def golden(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "oracles" / "guacamol_golden.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_golden_value(shared_data: Path) -> None:
    rows = golden(shared_data)
    assert len(rows) == 142
    assert set(rows[0]) - {"smiles"} == set(OBJECTIVES)
    wrong = {
        (name, row["smiles"])
        for row in rows
        for name, objective in OBJECTIVES.items()
        if abs(objective(read(row["smiles"])) - float(row[name])) > 1e-6
    }
    assert wrong == set()
    for name in OBJECTIVES:  # a column without spread would prove nothing
        values = [float(row[name]) for row in rows]
        assert (max(values) > 0.2) == (name != "valsartan_smarts"), name


def test_values_are_probabilities_whatever_the_spelling(shared_data: Path) -> None:
    for row in golden(shared_data)[:40:4]:
        molecule = read(row["smiles"])
        mol = Chem.MolFromSmiles(row["smiles"])
        atoms = range(mol.GetNumAtoms())
        other = read(Chem.MolToSmiles(mol, canonical=False, rootedAtAtom=atoms[-1]))
        for name, objective in OBJECTIVES.items():
            molecule.memo.clear()
            value = objective(molecule)
            assert 0 <= value <= 1
            other.memo.clear()
            assert objective(other) == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize(
    ("name", "drug"),
    [
        ("celecoxib_rediscovery", "celecoxib"),
        ("troglitazone_rediscovery", "troglitazone"),
        ("thiothixene_rediscovery", "thiothixene"),
        ("aripiprazole_similarity", "aripiprazole"),
        ("albuterol_similarity", "albuterol"),
        ("mestranol_similarity", "mestranol"),
    ],
)
def test_the_drug_itself_scores_one(name: str, drug: str) -> None:
    assert OBJECTIVES[name](objectives.reference(drug)) == 1


def test_elements_count_all_hydrogens() -> None:
    assert element_counts(read("OC[2H]")) == {"C": 1, "O": 1, "H": 4}
    assert element_counts(read("FC(F)Cl.[NH4+]")) == {"F": 2, "Cl": 1, "C": 1, "N": 1, "H": 5}


def test_isomers_by_hand() -> None:
    assert isomer_score(read("CC(C)CCCCCCCC"), "C11H24") == 1
    # Hexane for C5H12: one carbon, two hydrogens, three atoms too many; the exponents are
    # 1/2, 4/2 and (3/2)^2/2, and the geometric mean of three divides their sum by 3.
    expected = math.exp(-(0.5 + 2 + 1.125) / 3)
    assert isomer_score(read("CCCCCC"), "C5H12") == pytest.approx(expected)
    # An element outside the formula counts in the total alone: water for H2O and for H2.
    assert isomer_score(read("O"), "H2O") == 1
    assert isomer_score(read("O"), "H2") == pytest.approx(math.exp(-0.125 / 2))
    # Cl is one element, not carbon and an unknown one.
    assert isomer_score(read("CCl"), "CH3Cl") == 1


def test_substructures_by_hand() -> None:
    start = objectives.reference("hop")
    assert [contains(start, name) for name in objectives.PATTERNS] == [0, 1, 1, 1, 1]
    assert lacks(start, "sulfone") == 0
    assert lacks(read("CCO"), "sulfone") == 1
    assert contains(read("CN(C=O)Cc1ccc(-c2ccccc2)cc1"), "valsartan") == 1
    assert contains(read("CN(C=O)Cc1ccc(C2CCCCC2)cc1"), "valsartan") == 0


def test_hops_from_their_start() -> None:
    start = objectives.reference("hop")
    # Similarity 1 and the wanted pattern are full marks, the forbidden ones none.
    assert OBJECTIVES["deco_hop"](start) == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert OBJECTIVES["scaffold_hop"](start) == pytest.approx((1 + 1 + 0) / 3)


def test_sitagliptin_is_penalised_for_being_itself() -> None:
    # Similarity 1 is ten sigma from 0; logP, polar surface and formula are met: exp(-50)^(1/4).
    drug = objectives.reference("sitagliptin")
    assert drug.canonical == read(SITAGLIPTIN).canonical
    assert OBJECTIVES["sitagliptin_mpo"](drug) == pytest.approx(math.exp(-12.5))


def test_valsartan_needs_its_core_and_all_three_properties() -> None:
    assert OBJECTIVES["valsartan_smarts"](read(SITAGLIPTIN)) == 0  # all but the core
    text = "NC(=O)CN(C=O)Cc1ccc(-c2ccccc2)cc1"
    # Polar surface from Ertl's table: NH2 26.02, N 3.24, two C=O of 17.07; sitagliptin has
    # 26.02 + 3.24 + 17.07 + two aromatic N of 12.89 and one of 4.93.
    polar = (26.02 + 3.24 + 2 * 17.07) - (26.02 + 3.24 + 17.07 + 2 * 12.89 + 4.93)
    mol, drug = Chem.MolFromSmiles(text), Chem.MolFromSmiles(SITAGLIPTIN)
    logp = Crippen.MolLogP(mol) - Crippen.MolLogP(drug)
    bertz = GraphDescriptors.BertzCT(mol) - GraphDescriptors.BertzCT(drug)
    exponent = ((logp / 0.2) ** 2 + (polar / 5) ** 2 + (bertz / 30) ** 2) / 2
    assert min(abs(logp / 0.2), abs(polar / 5), abs(bertz / 30)) > 0.5  # each term is seen
    value = OBJECTIVES["valsartan_smarts"](read(text))
    assert math.log(value) == pytest.approx(-exponent / 4, rel=1e-3)
