"""Pharmacophores of all triples at once: RDKit's own bits, one by one."""

from __future__ import annotations

import pytest
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from rl4bio.chem.objectives import REFERENCES
from rl4bio.chem.pharmacophores import features_of, pharmacophores
from rl4bio.chem.reading import read_smiles

SHAPES = {
    "no feature": "C",
    "one feature": "CCO",
    "a pair": "OCCO",
    "neighbours alone": "NO",
    "equal families": "NCCCNCCCN",
    "symmetric triangle": "C1(O)CC(O)CC(O)C1",
    "far apart": "NCCCCCCCCCCCCCCCCCCCCO",
    "two molecules": "NCCCO.OCCN",
    "charges": "C[N+](C)(C)CCC([O-])=O",
    "unusual atoms": "C[Si](C)(C)CCB(O)O",
}


@pytest.mark.parametrize("text", [*SHAPES.values(), *REFERENCES.values()])
def test_the_bits_are_rdkits(text: str) -> None:
    mol = read_smiles(text).mol
    expected = Generate.Gen2DFingerprint(mol, Gobbi_Pharm2D.factory)
    found = pharmacophores(mol, features_of(mol))
    assert list(found.GetOnBits()) == list(expected.GetOnBits())
    assert found.GetNumBits() == expected.GetNumBits()


def test_the_shapes_have_bits_or_none() -> None:
    count = {name: len(features_of(read_smiles(text).mol)) for name, text in SHAPES.items()}
    assert count["no feature"] == 0
    assert count["equal families"] > 3
    assert not pharmacophores(
        read_smiles("NO").mol, features_of(read_smiles("NO").mol)
    ).GetNumOnBits()
