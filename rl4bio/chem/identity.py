"""When two molecules are the same: the one notion for repeats, novelty, known sets and splits.

They are where their parents are: what is left of a molecule without counter-ions and solvents,
isotope labels, hydrogens written as atoms, and charges that a proton makes. Stereochemistry counts
unless it is asked not to. Where a mobile hydrogen is written does not count, as in azoles and
lactams (`rl4bio.chem.tautomers`); keto and enol do. Metal complexes keep all their parts.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.fragments import drug_part, uncharged, without_isotopes, without_salt_metals
from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.tautomers import one_tautomer

log = logging.getLogger("rl4bio")

_DECORATED = re.compile(r"\.|\[[^\]]*[\d+-][^\]]*\]|\[H\]|\[(?:[A-Z][a-z]|K)\]")
"""Fragments, isotopes, charges, hydrogens and metals; all else is its own parent."""
_STEREO = re.compile(r"[@/\\]")
MOST_PASSES = 4
"""Readings until a canonical SMILES no longer changes; two are enough for nearly all."""


def parent(molecule: Molecule, *, stereo: bool = True) -> str:
    """Canonical SMILES of the parent, remembered in the memo; "" where the molecule is invalid.

    The text is a fixed point: read again, it is written in the same way.

    Args:
        molecule: valid or not.
        stereo: False for the parent without stereochemistry.
    """
    if not molecule.valid:
        return ""
    key = "parent" if stereo else "parent_flat"
    if key not in molecule.memo:
        with rdBase.BlockLogs():
            molecule.memo[key] = _parent(molecule, stereo)
    return str(molecule.memo[key])


def same_name(molecule: Molecule, *, stereo: bool = True) -> str:
    """What is equal for molecules that are the same: the parent in one of its tautomers, canonical.

    "" where the molecule is invalid; remembered in the memo.
    """
    key = "same" if stereo else "same_flat"
    if key not in molecule.memo:
        found = parent(molecule, stereo=stereo)
        if "+" in found and "-]" in found:  # a betaine is what its hydrochloride is
            with rdBase.BlockLogs():
                whole = uncharged(Chem.MolFromSmiles(found), zwitterions=True)
                found = _written(whole, stereo) or found
        molecule.memo[key] = one_tautomer(found)
    return str(molecule.memo[key])


def parent_molecule(molecule: Molecule) -> Molecule:
    """The parent of a valid molecule, itself where that is its own."""
    found = parent(molecule)
    return molecule if found == molecule.canonical else read_smiles(found, allow_dummies=True)


def parent_scaffold(molecule: Molecule) -> str:
    """Bemis-Murcko scaffold of a valid molecule's parent, "" where acyclic; no stereochemistry.

    Equal for molecules that are the same.
    """
    return scaffold(read_smiles(same_name(molecule, stereo=False), allow_dummies=True))


@functools.lru_cache(maxsize=1000)
def canonical_scaffold(text: str) -> str:
    """A scaffold as MolGPT's files write it, and a line where the spelling changes, or where it is
    none that a model has seen: those are Bemis-Murcko scaffolds, without side chains."""
    found = scaffold_spelling(text)
    if found != text:
        log.info("the scaffold %s is written %s, as in the model's training", text, found)
    molecule = read_smiles(found)
    core = scaffold(molecule) if molecule.valid else found
    if core != found:
        log.warning(
            "the scaffold %s is no Bemis-Murcko scaffold, as those of training are; its own is %s",
            found,
            core or "none (it has no ring)",
        )
    return found


def scaffold_spelling(text: str) -> str:
    """A scaffold as MolGPT's files write it: canonical, aromatic, without stereochemistry.

    A text that is no molecule stays as it is.
    """
    molecule = read_smiles(text, allow_dummies=True)
    if not molecule.valid:
        return text
    flat = Chem.Mol(molecule.mol)
    Chem.RemoveStereochemistry(flat)
    return str(Chem.MolToSmiles(flat))


def other_parts(molecule: Molecule) -> list[str]:
    """SMILES of the parts of a valid molecule besides its parent that are no counter-ions."""
    if "." not in molecule.canonical:
        return []
    with rdBase.BlockLogs():
        return sorted(Chem.MolToSmiles(part) for part in drug_part(molecule.mol)[1])


def _parent(molecule: Molecule, stereo: bool) -> str:
    mol: Any = molecule.mol
    text = molecule.canonical
    plain = not _DECORATED.search(text) and (stereo or not _STEREO.search(text))
    if plain and text == molecule.text:  # read and written it has stayed the same
        return text
    bare = without_salt_metals(mol)
    if "." in text or bare is not mol:
        mol, _ = drug_part(bare)
    if _DECORATED.search(text):
        mol = without_isotopes(mol)
        # A charge that makes a ring aromatic, as in [c-], must stay.
        neutral = _written(uncharged(mol), stereo)
        if neutral:
            return neutral
    return _written(mol, stereo) or text


def _written(mol: Any, stereo: bool) -> str:
    """Canonical SMILES as a fixed point, "" where RDKit does not read its own text."""
    if not stereo:
        mol = Chem.Mol(mol)
        Chem.RemoveStereochemistry(mol)
    return _fixed_point(str(Chem.MolToSmiles(mol)))


def _fixed_point(text: str) -> str:
    """The text, read and written until it stays the same; the least of a cycle; "" if unread."""
    seen = [text]
    for _ in range(MOST_PASSES):
        mol = Chem.MolFromSmiles(seen[-1])
        if mol is None:
            return ""
        text = str(Chem.MolToSmiles(mol))
        if text == seen[-1]:
            return text
        if text in seen:
            return min(seen[seen.index(text) :])
        seen.append(text)
    return min(seen)
