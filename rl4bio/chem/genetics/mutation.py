"""A molecule with one change of its graph."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.genetics.soundness import atoms_of, bonds_of, kekulized, sound_smiles
from rl4bio.chem.genetics.substituents import (
    append_group,
    move_branch,
    open_places,
    replace_branch,
    take_hydrogens,
)

TRIES = 10
ELEMENTS = {"C": 8, "N": 4, "O": 4, "F": 2, "S": 2, "Cl": 1, "Br": 1}
"""How often an element is drawn for a new or changed atom."""
ORDERS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)


def mutate(mol: Any, noise: random.Random, *, max_atoms: int) -> str:
    """Canonical SMILES of a molecule with one random change; "" where no try gave a sound one."""
    with rdBase.BlockLogs():
        before = Chem.MolToSmiles(mol)
        for _ in range(TRIES):
            edited = kekulized(mol)
            change = noise.choices(list(CHANGES), weights=list(CHANGES.values()))[0]
            if not change(edited, noise):
                continue
            child = sound_smiles(edited, max_atoms)
            if child and child != before:
                return child
    return ""


def append_atom(mol: Any, noise: random.Random) -> bool:
    """A new atom on one that has a hydrogen, by a bond that both have room for."""
    places = open_places(mol)
    if not places:
        return False
    place = mol.GetAtomWithIdx(noise.choice(places))
    new = mol.AddAtom(Chem.Atom(_element(noise)))
    order = noise.choices(ORDERS, weights=(8, 2, 1))[0]
    take_hydrogens(place, ORDERS.index(order) + 1)
    mol.AddBond(place.GetIdx(), new, order)
    return True


def insert_atom(mol: Any, noise: random.Random) -> bool:
    """A new atom in the middle of a single bond."""
    bonds = [bond for bond in bonds_of(mol) if bond.GetBondType() == Chem.BondType.SINGLE]
    if not bonds:
        return False
    bond = noise.choice(bonds)
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    new = mol.AddAtom(Chem.Atom(noise.choice(["C", "C", "C", "N", "O", "S"])))
    mol.RemoveBond(begin, end)
    mol.AddBond(begin, new, Chem.BondType.SINGLE)
    mol.AddBond(new, end, Chem.BondType.SINGLE)
    return True


def delete_atom(mol: Any, noise: random.Random) -> bool:
    """One atom less; its two neighbours, where it has two, are joined."""
    places = [atom for atom in atoms_of(mol) if atom.GetDegree() in (1, 2)]
    if not places or mol.GetNumAtoms() < 3:
        return False
    place = noise.choice(places)
    around = [atom.GetIdx() for atom in place.GetNeighbors()]
    if len(around) == 2:
        if mol.GetBondBetweenAtoms(*around) is not None:
            return False
        mol.AddBond(*around, Chem.BondType.SINGLE)
    mol.RemoveAtom(place.GetIdx())
    return True


def change_element(mol: Any, noise: random.Random) -> bool:
    """Another element in an uncharged atom's place."""
    places = [atom for atom in atoms_of(mol) if not atom.GetFormalCharge()]
    if not places:
        return False
    place = noise.choice(places)
    place.SetAtomicNum(Chem.GetPeriodicTable().GetAtomicNumber(_element(noise)))
    _plain(place)
    return True


def change_order(mol: Any, noise: random.Random) -> bool:
    """Another order of a bond."""
    bonds = bonds_of(mol)
    if not bonds:
        return False
    bond = noise.choice(bonds)
    bond.SetBondType(noise.choice([order for order in ORDERS if order != bond.GetBondType()]))
    for atom in (bond.GetBeginAtom(), bond.GetEndAtom()):
        _plain(atom)
    return True


def close_ring(mol: Any, noise: random.Random) -> bool:
    """A single bond between atoms two to six bonds apart."""
    free = open_places(mol)
    distances = Chem.GetDistanceMatrix(mol)
    pairs = [(a, b) for a in free for b in free if a < b and 2 <= distances[a][b] <= 6]
    if not pairs:
        return False
    begin, end = noise.choice(pairs)
    for number in (begin, end):
        take_hydrogens(mol.GetAtomWithIdx(number), 1)
    mol.AddBond(begin, end, Chem.BondType.SINGLE)
    return True


def open_ring(mol: Any, noise: random.Random) -> bool:
    """A bond of a ring less."""
    bonds = [bond for bond in bonds_of(mol) if bond.IsInRing()]
    if not bonds:
        return False
    bond = noise.choice(bonds)
    mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return True


CHANGES: dict[Callable[[Any, random.Random], bool], float] = {
    append_atom: 3,
    insert_atom: 2,
    delete_atom: 3,
    change_element: 3,
    change_order: 2,
    close_ring: 1,
    open_ring: 1,
    append_group: 3,
    replace_branch: 3,
    move_branch: 3,
}
"""The changes, and how often each is tried."""


def _element(noise: random.Random) -> str:
    return noise.choices(list(ELEMENTS), weights=list(ELEMENTS.values()))[0]


def _plain(atom: Any) -> None:
    """Let RDKit count the hydrogens of a changed atom."""
    atom.SetNoImplicit(False)
    atom.SetNumExplicitHs(0)
    atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
