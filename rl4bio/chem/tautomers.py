"""One spelling for forms that differ in where a mobile hydrogen stands, and in nothing else.

The hydrogen of an azole, of a lactam or of an amidine is written at one nitrogen or another, at the
oxygen or at the nitrogen, by whoever saves the table; a salt has lost it altogether. Nobody can
part such forms. Keto and enol, rings and chains, oximes and nitroso compounds stay apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.patterns import read_smarts

MOST_FORMS = 64
"""Forms of one molecule that are looked at; few drugs have more than four."""

_TO_ONE_SIDE = {
    "lactim": "[OX2H,SX2H;+0:1]-[#6:2]=,:[#7X2;+0:3]",
    "hydroxypyridine": "[OX2H,SX2H;+0:1]-[c:2]1:[c,n]:[c,n]:[nX2H0;+0:3]:[c,n]:[c,n]:1",
    "ring_imine": "[#7;R;!H0;+0:1]-,:[#6;R:2]=[#7X2;!R;+0:3]",
    "pyridine_imine": "[nH;+0:1]1:[c,n]:[c,n]:[c:2](=[#7X2;!R;+0:3]):[c,n]:[c,n]:1",
}
"""Lactims and imidic acids become lactams and amides, imines on rings become amines."""
_BOTH_WAYS = {
    "azole": "[nH;+0:1]:[c,n]:[nX2H0;+0:3]",
    "pyrazole": "[nH;+0:1]:[nX2H0;+0:3]",
    "amidine": "[NX3;!H0;!a;+0:1]-[CX3;!a:2]=[NX2;!a;+0:3]",
}
"""Moves between two nitrogens of one ring, and of an amidine or a guanidine."""
_CATION = "[nX3;+:1]:[c,n]:[nX3;+0:3]"
"""The charge of an imidazolium, which is written at one nitrogen or the other."""


_MAY_MOVE = re.compile(r"\[nH\]|N=|=N|=\[N|\[n\+\]|(?<!=)[OS](?:$|\))|^[OS](?!=)")
"""Texts in which a hydrogen may stand elsewhere; quicker than to look at the molecule."""


@functools.lru_cache(maxsize=20_000)
def one_tautomer(text: str) -> str:
    """The canonical SMILES that all forms of a molecule share; the text itself where it has one.

    Args:
        text: canonical SMILES.
    """
    if "n" not in text.lower() or not _MAY_MOVE.search(text):
        return text
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
        if mol is None:
            return text
        forms = {text: mol}
        waiting = [text]
        while waiting and len(forms) < MOST_FORMS:
            for found in _moved(forms[waiting.pop()]):
                written = str(Chem.MolToSmiles(found))
                if written not in forms:
                    forms[written] = found
                    waiting.append(written)
        return text if len(forms) == 1 else min(forms, key=lambda one: (_left(forms[one]), one))


def _left(mol: Any) -> int:
    """Hydrogens that are not on the side that a chemist writes."""
    found = [mol.GetSubstructMatches(read_smarts(smarts)) for smarts in _TO_ONE_SIDE.values()]
    return sum(map(len, found))


def _moved(mol: Any) -> Iterator[Any]:
    """The molecules that one move makes, where RDKit can read them."""
    for smarts in (*_TO_ONE_SIDE.values(), *_BOTH_WAYS.values(), _CATION):
        pattern, places = read_smarts(smarts), _places(smarts)
        for match in mol.GetSubstructMatches(pattern):
            edited = Chem.RWMol(mol)
            giver, taker = (edited.GetAtomWithIdx(match[places[n]]) for n in (1, 3))
            if 2 in places:
                middle = match[places[2]]
                _set_order(edited, giver.GetIdx(), middle, Chem.BondType.DOUBLE)
                _set_order(edited, middle, taker.GetIdx(), Chem.BondType.SINGLE)
            for atom, share in ((giver, 0), (taker, 1)):
                if smarts == _CATION:
                    atom.SetFormalCharge(share)
                    continue
                atom.SetNoImplicit(atom.GetIsAromatic())
                atom.SetNumExplicitHs(share if atom.GetIsAromatic() else 0)
            if Chem.SanitizeMol(edited, catchErrors=True):
                continue
            # Read again: rings may have become aromatic, and stereochemistry has gone.
            found = Chem.MolFromSmiles(Chem.MolToSmiles(edited))
            if found is not None and _hydrogens(found) == _hydrogens(mol):
                yield found


@functools.cache
def _places(smarts: str) -> dict[int, int]:
    """Map number -> place of the atom in a pattern."""
    atoms = read_smarts(smarts).GetAtoms()
    return {atom.GetAtomMapNum(): atom.GetIdx() for atom in atoms if atom.GetAtomMapNum()}


def _set_order(edited: Any, one: int, other: int, order: Any) -> None:
    """Set a bond's order where there is one that is not aromatic."""
    bond = edited.GetBondBetweenAtoms(one, other)
    if bond is not None and not bond.GetIsAromatic():
        bond.SetBondType(order)
        bond.SetStereo(Chem.BondStereo.STEREONONE)


def _hydrogens(mol: Any) -> int:
    return sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
