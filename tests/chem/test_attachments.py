"""Scaffolds with attachment points: what is one, what completes it, and molecules cut in two."""

from __future__ import annotations

import random
import re

import pytest
from rdkit import Chem

from rl4bio.chem.attachments import cut, joined, read_points

MOLECULES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](Cc1ccccc1)NC(=O)[C@@H]1CCCN1C(=O)/C=C/c1ccco1",
    "CC[NH+](CC)CCNC(=O)c1ccc(N)cc1Cl",
    "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
    "C[S@](=O)c1ccc2[nH]c(=O)n(C)c2c1",
    "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)[O-]",
)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("c1ccc([*:1])cc1", "[*:1]c1ccccc1"),
        ("C1=CC=CC=C1[*:1]", "[*:1]c1ccccc1"),
        ("[1*]c1ccccc1", "[*:1]c1ccccc1"),
        ("Clc1cc(*)cc(*)c1", "[*:1]c1cc(Cl)cc([*:2])c1"),
        ("C1CC1[*:2].c1ccccc1[*:1]", "[*:1]c1ccccc1.[*:2]C1CC1"),
        ("[CH3:7]c1ccccc1[*:1]", "[*:1]c1ccccc1C"),
    ],
)
def test_a_scaffold_has_one_spelling(given: str, read: str) -> None:
    assert read_points(given) == read
    assert read_points(read) == read


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no molecule (empty)"),
        ("c1ccc([*:1])cc", "no molecule (syntax)"),
        ("benzene [*:1]", "no molecule (characters)"),
        ("[*:1]", "no molecule (no heavy atom)"),
        ("[*:1][*:2]", "no molecule (no heavy atom)"),
        ("c1ccccc1", "has no attachment point; write [*:1]"),
        ("[*:1]c1ccc([*:1])cc1", "has 2 attachment points of the number 1"),
        ("[*:2]c1ccccc1", "numbers its attachment points 2 "),
        ("*c1ccc([*:1])cc1", "numbers its attachment points 0, 1 (0 = not at all)"),
        ("*c1c(*)c(*)c(*)c(*)c1", "has 5 attachment points, at most 4 work"),
        ("[*:1]=C1CCCCC1", "point 1 needs one single bond to an atom"),
        ("C[*:1]C", "point 1 needs one single bond to an atom"),
        ("CCO.[*:1]c1ccccc1", "has a part without an attachment point"),
    ],
)
def test_what_is_no_scaffold_is_refused_in_a_line(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as found:
        read_points(text)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("scaffold", "pieces", "whole"),
    [
        ("[*:1]c1ccccc1", "[*:1]C(=O)NC", "CNC(=O)c1ccccc1"),
        ("[*:1]c1ccccc1", "CNC(=O)[*:1]", "CNC(=O)c1ccccc1"),
        ("[*:1]c1ccc([*:2])cc1", "[*:1]F.[*:2]OC", "COc1ccc(F)cc1"),
        ("[*:1]c1ccc([*:2])cc1", "[*:2]OC.[*:1]F", "COc1ccc(F)cc1"),
        ("[*:1]c1ccccc1.[*:2]C1CC1", "[*:1]CO[*:2]", "c1ccc(COC2CC2)cc1"),
        ("[*:1]c1ccccc1[*:2]", "[*:1]CCC[*:2]", "c1ccc2c(c1)CCC2"),
        ("[*:1]n1cccc1", "[*:1]C", "Cn1cccc1"),
    ],
)
def test_pieces_are_joined_by_their_numbers(scaffold: str, pieces: str, whole: str) -> None:
    assert joined(scaffold, pieces) == whole


@pytest.mark.parametrize(
    ("scaffold", "pieces"),
    [
        ("[*:1]c1ccccc1", ""),
        ("[*:1]c1ccccc1", "C"),  # no point
        ("[*:1]c1ccccc1", "*C"),  # no number
        ("[*:1]c1ccccc1", "[*:1]C("),
        ("[*:1]c1ccccc1", "[*:1]C.C"),  # a part of its own
        ("[*:1]c1ccccc1", "[*:1]C.[*:1]C"),
        ("[*:1]c1ccccc1", "[*:1]C[*:2]"),  # a point is left
        ("[*:1]c1ccccc1", "[*:1]=C"),
        ("[*:1]c1ccc([*:2])cc1", "[*:1]F"),  # a point is not used
        ("[*:1]c1ccccc1.[*:2]C1CC1", "[*:1]C.[*:2]C"),  # not linked
        ("[*:1]c1ccccc1.[*:2]C1CC1", "[*:1][*:2]"),
        ("[*:1]C=C[*:2]", "[*:1]C=CC=C[*:2]"),  # a ring in which the scaffold is another one
    ],
)
def test_what_completes_no_scaffold_gives_nothing(scaffold: str, pieces: str) -> None:
    assert joined(scaffold, pieces) == ""


def test_cut_molecules_come_together_again_around_their_scaffold() -> None:
    noise = random.Random(1)
    points: set[int] = set()
    linked = made = 0
    for text in MOLECULES:
        whole = Chem.MolToSmiles(Chem.MolFromSmiles(text))
        for _ in range(30):
            found = cut(text, noise)
            if found is None:  # a draw whose sides have no ring or a very small part
                continue
            scaffold, pieces = found
            made += 1
            assert read_points(scaffold) == scaffold
            assert joined(scaffold, pieces) == whole
            core = Chem.DeleteSubstructs(Chem.MolFromSmiles(scaffold), Chem.MolFromSmarts("[#0]"))
            assert Chem.MolFromSmiles(whole).HasSubstructMatch(core)
            points.add(scaffold.count("*"))
            linked += "." in scaffold
    assert points == {1, 2, 3, 4}
    assert linked > 10
    assert made > 0.9 * 30 * len(MOLECULES)


@pytest.mark.parametrize("text", ["CCCCCC", "c1ccccc1", "CCO.Cl", "no molecule", "CC(C)COC"])
def test_what_has_no_cut_is_left_alone(text: str) -> None:
    """Chains without N, O or S, a ring alone, several parts; and no side of an ether has a ring."""
    assert cut(text, random.Random(1)) is None
