"""Where a mobile hydrogen is written makes no other molecule; what a salt has lost comes back."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rdkit import Chem

from rl4bio.chem.identity import parent_scaffold, same_name
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.splits import split_groups
from rl4bio.chem.states import batch_states
from rl4bio.chem.tautomers import one_tautomer

SAME = {
    "imidazole": ["Cc1c[nH]cn1", "Cc1cnc[nH]1"],
    "tetrazole": ["Cc1nnn[nH]1", "Cc1nn[nH]n1", "Cc1nn[n-]n1.[K+]", "Cc1nnn[n-]1.[Na+]"],
    "aminopyrazole": ["CC(C)c1cc(N)[nH]n1", "CC(C)c1cc(N)n[nH]1"],
    "indazole": ["c1ccc2[nH]ncc2c1", "c1ccc2n[nH]cc2c1"],
    "theophylline": [
        "Cn1c(=O)c2[nH]cnc2n(C)c1=O",
        "Cn1c(=O)c2nc[nH]c2n(C)c1=O",
        "CN1C(=O)N(C)c2nc[nH]c2C1=O.CN1C(=O)N(C)c2nc[nH]c2C1=O.NCCN",
    ],
    "pyridone": ["Oc1ccccn1", "O=c1cccc[nH]1", "[O-]c1ccccn1.[Na+]"],
    "4-pyridone": ["Oc1ccncc1", "O=c1cc[nH]cc1"],
    "quinazolinone": ["Oc1ncnc2ccccc12", "O=c1[nH]cnc2ccccc12", "O=c1nc[nH]c2ccccc12"],
    "cytosine": ["Nc1cc[nH]c(=O)n1", "Nc1ccnc(=O)[nH]1", "Nc1ccnc(O)n1"],
    "guanine": ["Nc1nc2[nH]cnc2c(=O)[nH]1", "Nc1nc(O)c2nc[nH]c2n1"],
    "thione": ["Sc1nc2ccccc2[nH]1", "S=c1[nH]c2ccccc2[nH]1", "[S-]c1nc2ccccc2[nH]1.[Na+]"],
    "phenobarbital": [
        "CCC1(c2ccccc2)C(=O)NC(=O)NC1=O",
        "CCC1(c2ccccc2)C(=O)N=C([O-])NC1=O.[Na+]",
        "CCC1(c2ccccc2)C(=O)NC(=O)[N-]C1=O.[Na+]",
    ],
    "phenytoin": [
        "O=C1NC(=O)C(c2ccccc2)(c2ccccc2)N1",
        "[O-]C1=NC(c2ccccc2)(c2ccccc2)C(=O)N1.[Na+]",
        "[Na+].[O-]C1=NC(=O)C(c2ccccc2)(c2ccccc2)N1",
    ],
    "clonidine": [
        "Clc1cccc(Cl)c1NC1=NCCN1",
        "Clc1cccc(Cl)c1N=C1NCCN1",
        "Clc1cccc(Cl)c1[NH+]=C1NCCN1.[Cl-]",
    ],
    "metformin": ["CN(C)C(=N)NC(=N)N", "CN(C)C(N)=NC(N)=N", "CN(C)C(=N)N=C(N)N"],
    "aminopyridine": ["Nc1ccncc1", "N=c1cc[nH]cc1", "Nc1cc[nH+]cc1.[Cl-]"],
    "anilinoquinoline": ["N#Cc1cnc2ccccc2c1Nc1ccccc1", "N#Cc1c[nH]c2ccccc2c1=Nc1ccccc1"],
    "aminothiazole": ["Nc1nccs1", "N=c1[nH]ccs1"],
    "imidazolium": ["CCCn1cc[n+](C)c1C", "CCC[n+]1ccn(C)c1C", "CCCn1cc[n+](C)c1C.[Br-]"],
    "betaine": ["C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)O.[Cl-]"],
    "carnitine": ["C[N+](C)(C)CC(O)CC(=O)[O-]", "C[N+](C)(C)CC(O)CC(O)=O.[Cl-]"],
    "acetamide": ["CC(N)=O", "CC(O)=N"],
    "saccharin": ["O=C1NS(=O)(=O)c2ccccc12", "[O-]C1=NS(=O)(=O)c2ccccc12.[Na+]"],
}
APART = [
    ("CC(C)=O", "C=C(C)O"),
    ("Cc1cn(C)cn1", "Cc1cncn1C"),  # no hydrogen moves
    ("Oc1cccnc1", "Oc1ccccn1"),
    ("CC(=O)NC", "CNC=O"),
    ("CC(C)=NO", "CC(C)N=O"),
    ("Nc1ncccc1O", "Nc1cccnc1O"),
    ("NC(=O)c1ccccc1", "O=CNc1ccccc1"),
]


@pytest.mark.parametrize("kind", SAME)
def test_the_same(kind: str) -> None:
    molecules = [read_smiles(text) for text in SAME[kind]]
    (name,) = {same_name(molecule) for molecule in molecules}
    assert batch_states(molecules) == ["valid", *["duplicate"] * (len(molecules) - 1)]
    assert same_name(read_smiles(name)) == name
    assert len({parent_scaffold(molecule) for molecule in molecules}) == 1
    assert {len(side) for side in split_groups(molecules, [0.5], kind="random", seed=1)} == {
        0,
        len(molecules),
    }


@pytest.mark.parametrize(("one", "other"), APART)
def test_apart(one: str, other: str) -> None:
    assert same_name(read_smiles(one)) != same_name(read_smiles(other))


@pytest.mark.parametrize("text", ["CC(=O)Nc1ccc(O)cc1", "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OC"])
def test_amides_and_anilines_stay_as_they_are_written(text: str) -> None:
    assert one_tautomer(text) == text


def test_what_inchi_calls_one_is_one(shared_data: Path) -> None:
    with (shared_data / "tdc" / "bbbp.csv").open() as stream:
        texts = [row["smiles"] for row in csv.DictReader(stream)][::5]
    names = {same_name(read_smiles(text), stereo=False) for text in texts}
    keys = {Chem.MolToInchiKey(Chem.MolFromSmiles(name))[:14] for name in names}
    assert len(keys) == len(names) > 300
