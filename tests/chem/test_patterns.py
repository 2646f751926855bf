"""SMARTS and substructures."""

from __future__ import annotations

from rl4bio.chem.patterns import has_pattern, has_substructure
from rl4bio.chem.reading import read_smiles


def test_a_part_may_be_substituted_at_its_nitrogen_where_a_smarts_may_not() -> None:
    pyrrole, substituted = read_smiles("c1cc[nH]c1"), read_smiles("Cn1cccc1")
    assert has_substructure(substituted, pyrrole)
    assert not has_pattern(substituted, "c1cc[nH]c1")
    assert not has_substructure(read_smiles("c1ccccc1"), pyrrole)
