"""A child of two molecules: a part of each, joined where both were cut."""

from __future__ import annotations

import random
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.genetics.soundness import kekulized, sound_smiles
from rl4bio.chem.genetics.substituents import acyclic_single_bonds

TRIES = 10
RING_CUTS = 0.5
"""How often a ring of each parent is cut, where both have one, instead of a single bond."""


def crossover(first: Any, second: Any, noise: random.Random, *, max_atoms: int) -> str:
    """Canonical SMILES of a child of two molecules; "" where no try gave a sound one.

    Either one acyclic single bond of each parent is cut, or two single bonds of one ring of each
    (in a Kekule form), so that it falls into two parts. A part of the first and one of the second
    are joined at their open ends by single bonds, at two of them in either order.
    """
    with rdBase.BlockLogs():
        for _ in range(TRIES):
            count = 2 if noise.random() < RING_CUTS else 1
            parts = [_part(kekulized(parent), count, noise) for parent in (first, second)]
            if parts[0] is None or parts[1] is None:
                continue
            joined = _joined(parts[0], parts[1], noise)
            if joined is not None and (child := sound_smiles(joined, max_atoms)):
                return child
    return ""


def _part(mol: Any, count: int, noise: random.Random) -> tuple[Any, list[int]] | None:
    """One of the two parts after `count` cuts, with the atoms that lost a neighbour."""
    bonds = _acyclic_cut(mol, noise) if count == 1 else _ring_cut(mol, noise)
    if bonds is None:
        return None
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]
    for begin, end in ends:
        mol.RemoveBond(begin, end)
    pieces = Chem.GetMolFrags(mol)
    if len(pieces) != 2:
        return None
    chosen = pieces[noise.randrange(2)]
    open_ends = [atom for pair in ends for atom in pair if atom in chosen]
    if len(open_ends) != count:
        return None
    for atom in sorted(set(range(mol.GetNumAtoms())) - set(chosen), reverse=True):
        mol.RemoveAtom(atom)
    return mol, [sorted(chosen).index(atom) for atom in open_ends]


def _acyclic_cut(mol: Any, noise: random.Random) -> list[Any] | None:
    found = acyclic_single_bonds(mol)
    return [noise.choice(found)] if found else None


def _ring_cut(mol: Any, noise: random.Random) -> list[Any] | None:
    rings = mol.GetRingInfo().BondRings()
    if not rings:
        return None
    ring = [mol.GetBondWithIdx(number) for number in noise.choice(rings)]
    single = [bond for bond in ring if bond.GetBondType() == Chem.BondType.SINGLE]
    return noise.sample(single, 2) if len(single) >= 2 else None


def _joined(first: tuple[Any, list[int]], second: tuple[Any, list[int]], noise: Any) -> Any:
    """Both parts as one graph; None where two bonds would join the same atoms."""
    (one, open_one), (other, open_other) = first, second
    child = Chem.RWMol(Chem.CombineMols(one, other))
    offset = one.GetNumAtoms()
    noise.shuffle(open_other)
    for begin, end in zip(open_one, open_other, strict=True):
        if child.GetBondBetweenAtoms(begin, end + offset) is not None:
            return None
        child.AddBond(begin, end + offset, Chem.BondType.SINGLE)
    return child
