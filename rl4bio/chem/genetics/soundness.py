"""Edited graphs as molecules, where they are sound ones."""

from __future__ import annotations

from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.patterns import read_smarts
from rl4bio.chem.reading import read_smiles

LARGEST_RING = 7
SMALL_RING = 4
"""Rings up to this size hold no double bond."""


def atoms_of(mol: Any) -> list[Any]:
    """Its atoms, in half the time of `GetAtoms`."""
    return list(map(mol.GetAtomWithIdx, range(mol.GetNumAtoms())))


def bonds_of(mol: Any) -> list[Any]:
    """Its bonds, in half the time of `GetBonds`."""
    return list(map(mol.GetBondWithIdx, range(mol.GetNumBonds())))


def kekulized(mol: Any) -> Any:
    """An editable copy with alternating bonds in place of aromatic ones."""
    copy = Chem.RWMol(mol)
    Chem.Kekulize(copy, clearAromaticFlags=True)
    return copy


def sound_smiles(mol: Any, max_atoms: int) -> str:
    """Canonical SMILES of an edited graph; "" where it is no sound molecule.

    Sound is one connected molecule of at most `max_atoms` heavy atoms that RDKit sanitises, without
    radicals, without rings of more than LARGEST_RING atoms, without double bonds in rings of up to
    SMALL_RING, and without cumulated double bonds in a ring.
    """
    if not 0 < mol.GetNumHeavyAtoms() <= max_atoms:
        return ""
    with rdBase.BlockLogs():
        try:
            copy = Chem.Mol(mol)
            for atom in atoms_of(copy):
                if not atom.GetFormalCharge() and not atom.IsInRing():
                    atom.SetNoImplicit(False)
            Chem.SanitizeMol(copy)
            text = str(Chem.MolToSmiles(copy)) if _rings_are_sound(copy) else ""
        except Exception:  # RDKit raises a dozen unrelated types from C++
            return ""
    molecule = read_smiles(text)
    if not molecule.valid or "." in text:
        return ""
    has_radicals = any(atom.GetNumRadicalElectrons() for atom in atoms_of(molecule.mol))
    return "" if has_radicals else molecule.canonical


def _rings_are_sound(mol: Any) -> bool:
    info = mol.GetRingInfo()
    for atoms, bonds in zip(info.AtomRings(), info.BondRings(), strict=True):
        if len(atoms) > LARGEST_RING:
            return False
        kinds = [mol.GetBondWithIdx(number).GetBondType() for number in bonds]
        doubles = [kind in (Chem.BondType.DOUBLE, Chem.BondType.TRIPLE) for kind in kinds]
        if Chem.BondType.TRIPLE in kinds or (len(atoms) <= SMALL_RING and any(doubles)):
            return False
    return not mol.HasSubstructMatch(read_smarts("[R]=[R]=[R]"))
