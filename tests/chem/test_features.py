"""Features: their order and values, and that a spelling does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from rl4bio.chem.features import DOMAIN_BITS, FEATURE_SETS, domain_bits, feature_rows
from rl4bio.chem.identity import parent_molecule
from rl4bio.chem.reading import read_smiles

NAME = "counts-1"


def test_benzene_by_hand() -> None:
    (row,) = feature_rows([read_smiles("c1ccccc1")], NAME)
    assert row.shape == (FEATURE_SETS[NAME][0],)
    atoms, features, pairs = row[: 3 * 2048].reshape(3, 2048)
    # Six equal atoms: one environment each of radius 0, 1 and 2, which occur six times.
    assert sorted(atoms[atoms > 0]) == sorted(features[features > 0]) == [6, 6, 6]
    # 15 pairs: six at distance 1, six at 2, three at 3. RDKit puts a count into one bit here.
    assert sorted(pairs[pairs > 0]) == [3, 6, 6]
    weight, heavy, logp, refractivity, tpsa, surface, *counts = row[3 * 2048 :].tolist()
    assert weight == pytest.approx(78.11, abs=0.01)
    assert heavy == 6
    assert logp == pytest.approx(6 * (0.1581 + 0.1230), abs=1e-3)  # Crippen's C18 and H1
    assert refractivity > 20
    assert (tpsa, surface > 30) == (0, True)
    assert counts == [0, 0, 0, 1, 1, 0]  # donors, acceptors, rotatable, rings, aromatic, sp3


def test_the_last_properties_by_hand() -> None:
    (row,) = feature_rows([read_smiles("NCCCC(=O)OCC1CC1")], NAME)
    # One amine; acceptors: N and the carbonyl's and ester's O by RDKit's rule; 7 of 8 C are sp3.
    assert row[-6:].tolist() == pytest.approx([1, 3, 5, 1, 0, 7 / 8])


def test_spelling_and_company_do_not_matter() -> None:
    texts = ["CC(=O)Nc1ccc(O)cc1", "c1c(O)ccc(NC(C)=O)c1", "CCO"]
    rows = feature_rows([read_smiles(text) for text in texts], NAME)
    bits = domain_bits([read_smiles(text) for text in texts])
    assert (rows[0] == rows[1]).all()
    assert (bits[0] == bits[1]).all()
    assert (bits[0] != bits[2]).any()
    assert (feature_rows([read_smiles("CCO")], NAME)[0] == rows[2]).all()
    assert np.isfinite(rows).all()


def test_domain_bits_of_benzene() -> None:
    (row,) = domain_bits([read_smiles("c1ccccc1")])
    assert row.shape == (DOMAIN_BITS // 8,)
    assert np.unpackbits(row).sum() == 3  # the environments above


def test_odd_molecules_have_finite_features() -> None:
    texts = ["[Na+].[Cl-]", "[H][H].C", "[U]", "C" * 400, "[13CH4]", "OS(=O)(=O)[O-]"]
    assert np.isfinite(feature_rows([read_smiles(text) for text in texts], NAME)).all()
    assert feature_rows([], NAME).shape == (0, FEATURE_SETS[NAME][0])


def test_an_unknown_set() -> None:
    with pytest.raises(ValueError, match="unknown feature set 'counts-2'; known: counts-1"):
        feature_rows([], "counts-2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CCO", "CCO"),
        ("Cl.CCN", "CCN"),
    ],
)
def test_features_are_of_the_parent(text: str, expected: str) -> None:
    assert parent_molecule(read_smiles(text)).canonical == expected
