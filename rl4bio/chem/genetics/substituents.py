"""Changes of whole substituents: one more, another one, or the same one elsewhere."""

from __future__ import annotations

import random
from typing import Any

from rdkit import Chem

from rl4bio.chem.genetics.soundness import atoms_of, bonds_of

_FREQUENT = """
    CC OC c1ccccc1 C(C)C C#N CCC C1CC1 [N+](=O)[O-] C(F)(F)F OCC C(=O)O Cc1ccccc1 c1ccc(F)cc1
    C(C)(C)C N(C)C C(C)=O CO c1ccc(C)cc1 C(=O)OC C(N)=O c1ccc(Cl)cc1 c1cccs1 c1ccc(OC)cc1
    N1CCOCC1 COC NC c1ccco1 CC(C)C S(C)(=O)=O c1ccccc1F c1ccccn1 C(=O)OCC C1CCCO1 N1CCCC1
    c1cccnc1 SC C1CCCCC1 c1ccccc1Cl c1ccccc1C C1CCCC1 c1ccncc1 c1cccc(Cl)c1 c1cccc(F)c1
    c1ccccc1OC NC(C)=O c1cccc(C)c1 NCC CCOC CN CC1CCCO1 c1cccc(OC)c1 N1CCCCC1 C(C)CC C=C CCO
    CC=C CCCC C(F)F CC(F)(F)F CC(=O)O OC(C)(C)C C(=O)NC Cc1ccco1 NCCC c1ccc(Br)cc1 Cc1cccs1
    OC(C)C CCc1ccccc1 C(=O)N(C)C CC#N NC(C)C Cc1ccc(F)cc1 C(=O)c1ccccc1 C1CCS(=O)(=O)C1
    C(=O)OC(C)(C)C Nc1ccccc1 Oc1ccccc1 NC1CC1 CN1CCOCC1 N(CC)CC Cc1ccccn1 C(C)O c1ccsc1 CN(C)C
    [nH]1cccn1 c1ccc(C)c(C)c1 c1ccc(F)cc1F CC1CC1 c1ccc(C#N)cc1 c1nccs1 C(=O)N1CCCC1 CC(N)=O
    C#C c1ccc(F)c(F)c1 Cc1ccc(C)cc1 c1nc(C)cs1 Cc1ccc(Cl)cc1 c1c(C)noc1C CSC OC(F)F c1cnn(C)c1
    N1CCN(C)CC1 [nH]1ccnc1 C(=O)CC CCC(C)C N1CC(C)OC(C)C1 c1ccc(CC)cc1 Cc1cccnc1 C(=O)c1ccco1
    CC(=O)OC c1ccc(Cl)cc1Cl CC#C C(=O)NC1CC1 S(N)(=O)=O C(C)c1ccccc1 c1cccc(Br)c1 c1ccc(C)cc1C
    Cc1ccccc1F C(=O)N1CCOCC1 c1cc(C)ccc1C c1ccc(O)cc1 [nH]1cncn1 N1CCC(C)CC1 c1c(F)cccc1F
    N1CCCCCC1 C1CC1C C1CCC1 C(=O)NCC
"""
GROUPS = tuple(_FREQUENT.split())
"""The 128 most frequent parts of two to nine heavy atoms behind an acyclic single bond, uncharged
but for nitro, in 30,000 molecules of ZINC250k; frequent first, each bound by its first atom."""


def append_group(mol: Any, noise: random.Random) -> bool:
    """One of GROUPS on an atom that has a hydrogen."""
    places = open_places(mol)
    if not places:
        return False
    place = noise.choice(places)
    take_hydrogens(mol.GetAtomWithIdx(place), 1)
    _attach(mol, place, noise)
    return True


def replace_branch(mol: Any, noise: random.Random) -> bool:
    """One of GROUPS in place of the smaller part behind an acyclic single bond."""
    cut = _cut(mol, noise)
    if cut is None:
        return False
    place, end, branch = cut
    mol.RemoveBond(place, end)
    _attach(mol, place, noise)
    for atom in sorted(branch, reverse=True):
        mol.RemoveAtom(atom)
    return True


def move_branch(mol: Any, noise: random.Random) -> bool:
    """The smaller part behind an acyclic single bond on another atom that has a hydrogen."""
    cut = _cut(mol, noise)
    if cut is None:
        return False
    place, end, branch = cut
    others = [atom for atom in open_places(mol) if atom not in branch and atom != place]
    if not others:
        return False
    new = noise.choice(others)
    mol.RemoveBond(place, end)
    take_hydrogens(mol.GetAtomWithIdx(new), 1)
    mol.AddBond(new, end, Chem.BondType.SINGLE)
    return True


def open_places(mol: Any) -> list[int]:
    """The atoms that have a hydrogen to give."""
    return [atom.GetIdx() for atom in atoms_of(mol) if atom.GetTotalNumHs()]


def acyclic_single_bonds(mol: Any) -> list[Any]:
    """The bonds where a molecule can be cut in two."""
    return [
        bond
        for bond in bonds_of(mol)
        if not bond.IsInRing() and bond.GetBondType() == Chem.BondType.SINGLE
    ]


def take_hydrogens(atom: Any, count: int) -> None:
    """Make room in an atom whose hydrogens are written, as in [nH]."""
    atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() - count))


def _cut(mol: Any, noise: random.Random) -> tuple[int, int, set[int]] | None:
    """An acyclic single bond: its atom on the larger side, that on the smaller, and the smaller
    side; None where there is no such bond."""
    bonds = acyclic_single_bonds(mol)
    if not bonds:
        return None
    bond = noise.choice(bonds)
    begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    side = _side(mol, end, begin)
    if len(side) * 2 > mol.GetNumAtoms():
        begin, end = end, begin
        side = set(range(mol.GetNumAtoms())) - side
    return begin, end, side


def _side(mol: Any, start: int, without: int) -> set[int]:
    """The atoms that hang together with one when another is away."""
    found, pending = {start}, [start]
    while pending:
        for atom in mol.GetAtomWithIdx(pending.pop()).GetNeighbors():
            number = atom.GetIdx()
            if number not in found and number != without:
                found.add(number)
                pending.append(number)
    return found


def _attach(mol: Any, place: int, noise: random.Random) -> None:
    """One of GROUPS, bound to an atom that has room for it."""
    group = Chem.MolFromSmiles(noise.choice(GROUPS))
    Chem.Kekulize(group, clearAromaticFlags=True)
    first = mol.GetNumAtoms()
    mol.InsertMol(group)
    take_hydrogens(mol.GetAtomWithIdx(first), 1)
    mol.AddBond(place, first, Chem.BondType.SINGLE)
