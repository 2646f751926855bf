"""Operators on molecular graphs: sound children, made of what their parents are made of."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from rl4bio.chem.genetics.breeding import breed
from rl4bio.chem.genetics.crossover import crossover
from rl4bio.chem.genetics.mutation import (
    CHANGES,
    append_atom,
    change_element,
    change_order,
    close_ring,
    delete_atom,
    insert_atom,
    mutate,
    open_ring,
)
from rl4bio.chem.genetics.soundness import kekulized, sound_smiles
from rl4bio.chem.genetics.substituents import GROUPS, append_group, move_branch, replace_branch
from rl4bio.chem.objectives import REFERENCES
from rl4bio.chem.reading import read_smiles

PARENTS = list(REFERENCES.values())
SETTINGS = {
    "rank_offset": 3.6,
    "crossover_share": 0.8,
    "mutation_share": 0.3,
    "max_atoms": 40,
}


def mol(text: str) -> object:
    return read_smiles(text).mol


def after(change: object, text: str, rounds: int = 60) -> set[str]:
    """Every sound result of a change of a molecule that some draws give."""
    found = set()
    for seed in range(rounds):
        edited = kekulized(mol(text))
        if change(edited, random.Random(seed)):  # type: ignore[operator]
            found.add(sound_smiles(edited, 40))
    return found - {""}


def test_each_change_of_a_small_molecule_by_hand() -> None:
    assert after(delete_atom, "CCO") == {"CC", "CO"}
    assert {"CCC", "C=CC", "CCN", "CCF"} <= after(append_atom, "CC")
    assert {"CCC", "CNC", "COC", "CSC"} == after(insert_atom, "CC")
    assert {"CN", "CO", "CF"} <= after(change_element, "CC")
    assert after(change_order, "CC") == {"C=C", "C#C"}
    assert after(close_ring, "CCC") == {"C1CC1"}
    assert after(open_ring, "C1CC1") == {"CCC"}


def test_each_change_of_a_substituent_by_hand() -> None:
    assert {"CCC", "COC", "CC#N", "C[N+](=O)[O-]"} <= after(append_group, "C", 800)
    # A ring keeps its place; what hangs on it goes.
    assert {"CCC1CC1", "COC1CC1", "N#CC1CC1"} <= after(replace_branch, "IC1CC1", 800)
    assert not [text for text in after(replace_branch, "IC1CC1") if "I" in text]
    isomers = {"Cc1ccccc1F", "Cc1cccc(F)c1", "Cc1ccc(F)cc1", "FCc1ccccc1"}
    assert after(move_branch, "Cc1ccccc1F") == isomers
    for change in (replace_branch, move_branch):
        assert after(change, "C1CC1") == set()  # no bond outside of a ring


@pytest.mark.parametrize("group", GROUPS)
def test_every_substituent_is_sound_and_bound_by_its_first_atom(group: str) -> None:
    bound = sound_smiles(mol("I" + group.replace("[nH]", "n")), 10)
    assert bound
    assert 3 <= mol(bound).GetNumHeavyAtoms() <= 10  # type: ignore[attr-defined]


def test_a_crossover_has_a_part_of_each() -> None:
    """Of F-C-C-F and Cl-C-C-Cl: what single cuts can join, and no parent."""
    first, second = mol("FCCF"), mol("ClCCCl")
    found = {crossover(first, second, random.Random(n), max_atoms=40) for n in range(80)}
    # Parts F, FC, FCC and Cl, ClC, ClCC: from no carbon between the two to four.
    assert found == {"FCl", "FCCl", "FCCCl", "FCCCCl", "FCCCCCl"}


def test_rings_are_cut_and_joined() -> None:
    found = {
        crossover(mol("C1CCCCC1"), mol("C1NCCOC1"), random.Random(n), max_atoms=40)
        for n in range(60)
    } - {""}
    assert found
    assert all(len(read_smiles(text).mol.GetRingInfo().AtomRings()) == 1 for text in found)
    assert all(len(ring) <= 7 for text in found for ring in _rings(text))


def _rings(text: str) -> list[tuple[int, ...]]:
    return list(read_smiles(text).mol.GetRingInfo().AtomRings())


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("c1ccccc1", True),
        ("C1CCCCCC1", True),
        ("C1CCCCCCC1", False),  # a ring of eight
        ("C1=CC1", False),  # a double bond in a ring of three
        ("C1=C=CCCC1", False),  # cumulated in a ring
        ("C=C=C", True),
        ("C.C", False),
        ("[CH3]", False),  # a radical
        ("CC", True),
    ],
)
def test_what_is_sound(text: str, sound: bool) -> None:
    assert bool(sound_smiles(mol(text), 40)) == sound
    assert sound_smiles(mol("CCCC"), 3) == ""


def test_broods_are_sound_new_and_the_same_again() -> None:
    known = {read_smiles(text).canonical for text in PARENTS}

    def brood(seed: int) -> list[str]:
        return breed(PARENTS, 40, random.Random(seed), is_new=lambda s: s not in known, **SETTINGS)

    first = brood(1)
    assert first == brood(1)
    assert first != brood(2)
    assert len(set(first)) == 40
    assert not known & set(first)
    for text in first:
        molecule = read_smiles(text)
        assert molecule.valid
        assert molecule.canonical == text
        assert molecule.mol.GetNumHeavyAtoms() <= 40
    # The parents are as they were: a cached molecule is never changed.
    assert {read_smiles(text).canonical for text in PARENTS} == known


def test_good_parents_have_more_children() -> None:
    """Copies alone, of two: the first is drawn 1/.5 against 1/1.5, three times in four."""
    options = {**SETTINGS, "rank_offset": 0.5, "crossover_share": 0.0}
    starts = Counter(
        "F" in breed(["CCCCF", "CCCCCl"], 1, random.Random(n), is_new=lambda s: True, **options)[0]
        for n in range(200)
    )
    assert starts[True] > 110


def test_nothing_to_breed_from() -> None:
    assert breed([], 5, random.Random(1), is_new=lambda s: True, **SETTINGS) == []
    assert breed(["CC"], 5, random.Random(1), is_new=lambda s: False, **SETTINGS) == []
    only = breed(["CCO"], 5, random.Random(1), is_new=lambda s: True, **SETTINGS)
    assert len(only) == 5  # mutants of the one


def test_every_drug_can_be_mutated() -> None:
    for n, text in enumerate(PARENTS):
        assert mutate(mol(text), random.Random(n), max_atoms=50), text
    assert len(CHANGES) == 10
