"""Fingerprints and Tanimoto similarity against counts by hand."""

from __future__ import annotations

import pytest
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D

from rl4bio.chem.fingerprints import (
    FOLDED_BITS,
    KINDS,
    MAX_PHARMACOPHORE_ATOMS,
    MAX_PHARMACOPHORES,
    bulk_tanimoto,
    fingerprint,
    folded_ecfp4,
    similarity,
    tanimoto,
)
from rl4bio.chem.objectives import REFERENCES
from rl4bio.chem.reading import read_smiles

DRUGS = [read_smiles(text) for text in REFERENCES.values()]


def naive_tanimoto(first: dict[int, int], second: dict[int, int]) -> float:
    keys = first.keys() | second.keys()
    smaller = sum(min(first.get(key, 0), second.get(key, 0)) for key in keys)
    return smaller / sum(max(first.get(key, 0), second.get(key, 0)) for key in keys)


def counts(molecule, kind):
    found = fingerprint(molecule, kind)
    return dict.fromkeys(found.GetOnBits(), 1) if kind == "PHCO" else found.GetNonzeroElements()


def test_atom_pairs_by_hand() -> None:
    # Propane has CH3-CH2 twice and CH3..CH3 once. Butane has CH3-CH2 twice, CH2-CH2,
    # CH3..CH2 twice and CH3...CH3: 2 pairs in common of 3 + 6 - 2.
    propane, butane = read_smiles("CCC"), read_smiles("CCCC")
    assert sorted(counts(propane, "AP").values()) == [1, 2]
    assert sorted(counts(butane, "AP").values()) == [1, 1, 2, 2]
    assert similarity(propane, butane, "AP") == pytest.approx(2 / 7)


def test_circular_environments_by_hand() -> None:
    # Ethane: each atom at radius 0, and one environment at radius 1 that is the whole molecule.
    assert sorted(counts(read_smiles("CC"), "ECFP4").values()) == [1, 2]
    # Chlorine and bromine are different elements and the same kind of feature.
    first, second = read_smiles("ClC1CCCCC1"), read_smiles("BrC1CCCCC1")
    assert similarity(first, second, "ECFP4") < 1
    assert similarity(first, second, "FCFP4") == 1


def test_wider_circles_see_more() -> None:
    for narrow, wide in (("ECFP4", "ECFP6"), ("FCFP4", "FCFP6")):
        small, large = counts(DRUGS[0], narrow), counts(DRUGS[0], wide)
        assert small.items() < large.items()


@pytest.mark.parametrize("kind", KINDS)
def test_tanimoto_is_minima_over_maxima(kind: str) -> None:
    for first in DRUGS[:6]:
        assert similarity(first, first, kind) == 1
        expected = [naive_tanimoto(counts(first, kind), counts(m, kind)) for m in DRUGS]
        assert [similarity(first, m, kind) for m in DRUGS] == pytest.approx(expected)
        many = [fingerprint(m, kind) for m in DRUGS]
        assert bulk_tanimoto(fingerprint(first, kind), many) == pytest.approx(expected)
        assert [tanimoto(one, fingerprint(first, kind)) for one in many] == pytest.approx(expected)


def test_folded_bits() -> None:
    bits = folded_ecfp4(read_smiles("CC"))
    assert (bits.GetNumBits(), bits.GetNumOnBits()) == (FOLDED_BITS, 2)
    assert bulk_tanimoto(bits, []) == []


def test_a_fingerprint_is_made_once_for_every_spelling() -> None:
    first, second = read_smiles("NCCCO"), read_smiles("OCCCN")
    for kind in KINDS:
        assert fingerprint(first, kind) is fingerprint(second, kind)
    assert len({id(fingerprint(first, kind)) for kind in KINDS}) == len(KINDS)


def test_too_many_pharmacophores_or_atoms_are_none() -> None:
    few, many = read_smiles("N" * 12), read_smiles("N" * 60)
    expected = Generate.Gen2DFingerprint(few.mol, Gobbi_Pharm2D.factory)
    assert fingerprint(few, "PHCO") == expected
    assert sum(map(len, Gobbi_Pharm2D.factory.GetMolFeats(many.mol))) > MAX_PHARMACOPHORES
    assert similarity(many, few, "PHCO") == 0
    # Water adds atoms without features.
    edge, large = (read_smiles("N" * 12 + ".O" * count) for count in (108, 109))
    assert edge.mol.GetNumAtoms() == MAX_PHARMACOPHORE_ATOMS
    assert similarity(edge, few, "PHCO") == 1
    assert similarity(large, few, "PHCO") == 0


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fingerprint 'ECFP8'; known: ECFP4, ECFP6"):
        fingerprint(DRUGS[0], "ECFP8")
