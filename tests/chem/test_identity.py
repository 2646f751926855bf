"""The same molecule: salts, isotopes, protons and spellings; and that parents are fixed points."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from rl4bio.chem.identity import other_parts, parent, parent_scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.states import batch_states, same_key

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
PAMOIC = "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O"
LACTOBIONIC = "O=C(O)C(O)C(O)C(OC1OC(CO)C(O)C(O)C1O)C(O)CO"
DOBUTAMINE = "CC(CCc1ccc(O)cc1)NCCc1ccc(O)c(O)c1"


def name(text: str, *, stereo: bool = True) -> str:
    return parent(read_smiles(text), stereo=stereo)


@pytest.mark.parametrize(
    "text",
    [
        "OC(=O)C1=CC=CC=C1OC(C)=O",
        "[12CH3]C(=O)Oc1ccccc1C(=O)O",
        "C[14C](=O)Oc1ccccc1C(=O)O",
        "[2H]C([2H])([2H])C(=O)Oc1ccccc1C(=O)O",
        "CC(=O)Oc1ccccc1C(=O)[O-]",
        "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]",
        "CC(=O)Oc1ccccc1C(=O)O[K]",
        *(f"{ASPIRIN}.{other}" for other in ("O", "C", "[He]", "Cl", "CCO", "NCCCCC(N)C(=O)O")),
        f"{ASPIRIN}.{ASPIRIN}",
    ],
)
def test_the_same_as_aspirin(text: str) -> None:
    assert name(text) == ASPIRIN
    assert batch_states([read_smiles(ASPIRIN), read_smiles(text)])[1] == "duplicate"


@pytest.mark.parametrize(
    "text", ["CC(=O)Oc1ccccc1C(=O)OC", "CC(=O)Oc1ccccc1C(O)O", "Oc1ccccc1C(=O)O"]
)
def test_another_molecule(text: str) -> None:
    assert same_key(read_smiles(text)) != same_key(read_smiles(ASPIRIN))


def test_counter_ions_larger_than_the_drug_go() -> None:
    assert name(f"{DOBUTAMINE}.{LACTOBIONIC}") == DOBUTAMINE
    assert name(f"CN1CCCN=C1C=Cc1cccs1.{PAMOIC}") == "CN1CCCN=C1C=Cc1cccs1"
    assert name(PAMOIC) == PAMOIC  # alone it is the molecule
    assert other_parts(read_smiles(f"{DOBUTAMINE}.{LACTOBIONIC}")) == []
    assert other_parts(read_smiles(f"{DOBUTAMINE}.{ASPIRIN}")) == [ASPIRIN]


BASE = "CCCc1ncccc1C"


@pytest.mark.parametrize(
    "acid",
    [
        *("O=C(O)c1ccccc1-c1ccccc1", "OC(=O)c1ccc(cc1)C(O)=O", "OC(=O)/C=C/c1ccccc1"),
        *("OC(=O)C1(O)CC(O)C(O)C(O)C1", "OC(=O)CCCCCCCC(O)=O", "OS(=O)(=O)CCCCS(O)(=O)=O"),
        "Oc1c(cc(cc1[N+]([O-])=O)[N+]([O-])=O)[N+]([O-])=O",
    ],
)
def test_an_acid_larger_than_its_base_goes(acid: str) -> None:
    assert name(f"{BASE}.{acid}") == BASE
    assert name(acid) == name(f"{acid}.O")  # alone it is the molecule


@pytest.mark.parametrize(
    "text",
    [
        "CCCC(CCC)C(=O)O[Mg]OC(=O)C(CCC)CCC",
        "CCCC(CCC)C(=O)O[Ca]OC(=O)C(CCC)CCC",
        "CCCC(CCC)C(=O)O[Zn]Cl",
        "CCCC(CCC)C(=O)O[Al](O)O",
        "CCCC(CCC)C(=O)O[Ag]",
        "CCCC(CCC)C(=O)[O-].CCCC(CCC)C(=O)O[Mg+]",
        "CCCC(CCC)C(=O)O[Li]",
    ],
)
def test_a_salt_with_a_bond_to_its_metal(text: str) -> None:
    assert name(text) == "CCCC(CCC)C(=O)O"


@pytest.mark.parametrize(
    ("salt", "plain"),
    [
        ("C[Se]CCC(N)C(=O)[O-].[Na+]", "C[Se]CCC(N)C(=O)O"),
        ("C[As](=O)([O-])[O-].[Na+].[Na+]", "C[As](=O)(O)O"),
        ("CCn1cc[n+](C)c1.O=S(=O)([N-]S(=O)(=O)C(F)(F)F)C(F)(F)F", "CCn1cc[n+](C)c1"),
        ("CCn1cc[n+](C)c1.N#C[N-]C#N", "CCn1cc[n+](C)c1"),
    ],
)
def test_salts_of_metalloids_and_ionic_liquids(salt: str, plain: str) -> None:
    assert name(salt) == plain


def test_metals_on_carbon_and_of_complexes_stay() -> None:
    for text in ("C[CH2][Mg][Br]", "C[Zn]C", "CC[Hg]Cl", "C[Sn](C)(C)C"):
        assert name(text) == read_smiles(text).canonical


def test_stereochemistry_counts_unless_not() -> None:
    left, right = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"
    assert name(left) != name(right)
    assert name(left, stereo=False) == name(right, stereo=False) == "CC(N)C(=O)O"
    assert name("C[C@]([2H])(O)C") == "CC(C)O"  # no centre without its label


@pytest.mark.parametrize(
    "text",
    [
        "[NH3]->[Pt](<-[NH3])([Cl])[Cl]",
        "N.N.[Cl][Pt][Cl]",
        "[Fe+2].c1cc[cH-]c1.c1cc[cH-]c1",
        "[Cl-].[Na+]",
        "C[N+](C)(C)C",
        "O=[N+]([O-])c1ccccc1",
        "*c1ccccc1",
    ],
)
def test_what_stays_whole(text: str) -> None:
    molecule = read_smiles(text, allow_dummies=True)
    assert molecule.valid
    assert parent(molecule) == molecule.canonical


def test_an_invalid_text_has_no_parent() -> None:
    assert name("C1CC") == ""


def test_the_scaffold_is_that_of_the_parent() -> None:
    salt = "Clc1ccccc1C1C(C(=O)OCC)=C(COCCN)NC(C)=C1C(=O)OC.O=S(=O)(O)c1ccccc1"
    assert parent_scaffold(read_smiles(salt)) == "C1=CC(c2ccccc2)C=CN1"


def test_parents_of_real_molecules_are_fixed_points(shared_data: Path) -> None:
    with gzip.open(shared_data / "tdc" / "solubility_aqsoldb.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))[::25]
    column = next(key for key in rows[0] if key.lower() in ("drug", "smiles"))
    for molecule in (read_smiles(row[column].strip()) for row in rows):
        for stereo in (True, False):
            found = parent(molecule, stereo=stereo)
            again = read_smiles(found)
            assert (again.canonical, parent(again, stereo=stereo)) == (found, found)


@pytest.mark.parametrize(
    ("dipole", "plain"),
    [
        ("C[S+](C)[O-]", "CS(C)=O"),
        ("C[S@+]([O-])c1ccccc1", "C[S@](=O)c1ccccc1"),
        ("C[S+2]([O-])([O-])C", "CS(C)(=O)=O"),
        ("C[P+](C)(C)[O-]", "CP(C)(C)=O"),
        ("[CH2-][P+](C)(C)C", "C=P(C)(C)C"),
        ("C[S+](C)[N-]C", "CN=S(C)C"),
        ("CC1=CC=CC=C1N(=O)=O", "Cc1ccccc1[N+](=O)[O-]"),
        ("CC1=CC=N(=O)C=C1", "Cc1cc[n+]([O-])cc1"),
    ],
)
def test_a_dipole_is_a_spelling(dipole: str, plain: str) -> None:
    assert name(dipole) == name(plain) == plain
    assert name("C[S+](C)C.[Cl-]") == "C[S+](C)C"  # a cation of its own
