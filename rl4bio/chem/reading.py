"""Strict reading of SMILES: what RDKit accepts and is no SMILES counts as invalid here.

RDKit reads "" as a molecule of no atoms, "CCO I think" and a CXSMILES tail as their first word, and
drops non-ASCII letters at either end. A policy that is rewarded for such text learns to write it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rdkit import Chem, rdBase

MAX_CHARACTERS = 2000
MAX_HEAVY_ATOMS = 500
CACHED_READINGS = 4096
"""How many are kept, at 30 kB for a drug and 220 kB for 400 atoms; the least recently used go."""
CACHED_MEMOS = 20_000
"""Memos outlive readings: they hold what is slow to compute, and less of it."""

Value = TypeVar("Value")

_FOREIGN = re.compile(r"(?!->|<-|(?<=-)>)[^A-Za-z0-9\[\]()=#$:/\\+\-.%@*]")
"""What is no SMILES, but for the arrows of RDKit's dative bonds."""
_HEAVY_ATOM = re.compile(r"\[(?!\d*H[+\-\d:]*\])[^\]]*\]|Br|Cl|[BCNOPSFIbcnops*]")
_SANITIZE_REASONS = {
    Chem.SanitizeFlags.SANITIZE_PROPERTIES: "valence",
    Chem.SanitizeFlags.SANITIZE_KEKULIZE: "kekulization",
}


@dataclass(slots=True, eq=False)
class Molecule:
    """A text and the molecule that it spells, if it spells one."""

    text: str
    """As it was given."""
    canonical: str
    """RDKit's canonical SMILES without atom map numbers; "" where invalid."""
    mol: Any = field(repr=False)
    """Chem.Mol, sanitised, hydrogens implicit; None where invalid. Shared: never change it."""
    reason: str
    """Why it is invalid, "" where it is valid: "empty", "too long", "characters", "too many atoms",
    "syntax", "valence", "kekulization", "sanitization", "dummy atom" or "no heavy atom"."""
    memo: dict[str, Any] = field(default_factory=dict, repr=False)
    """Values computed once; molecules of one canonical SMILES share it."""

    @property
    def valid(self) -> bool:
        """Whether the text is a SMILES of a molecule."""
        return self.reason == ""


def read_smiles(
    text: str,
    *,
    max_characters: int = MAX_CHARACTERS,
    max_heavy_atoms: int = MAX_HEAVY_ATOMS,
    allow_dummies: bool = False,
) -> Molecule:
    """The molecule that a text spells; never raises, writes nothing to RDKit's log.

    Valid is a text of the OpenSMILES alphabet alone, without white space, that RDKit parses and
    sanitises, with at least one atom other than hydrogen and no dummy atom. Both caps are checked
    before RDKit sees the text, so that parsing takes a bounded time.

    Args:
        text: any string.
        max_characters: longer texts are invalid.
        max_heavy_atoms: texts with more atoms that are not hydrogen (dummies count) are invalid.
        allow_dummies: whether `*` is an atom like another (an attachment point).

    Returns:
        The same object for the same arguments while it is cached.
    """
    if len(text) > max_characters:  # not cached: the cache would hold megabytes of it
        return _invalid(text, "too long")
    return _read(text, max_heavy_atoms, allow_dummies)


def remembered(compute: Callable[[Molecule], Value]) -> Callable[[Molecule], Value]:
    """Makes a function of a valid molecule run once per canonical SMILES."""
    key = compute.__name__

    @functools.wraps(compute)
    def function(molecule: Molecule) -> Value:
        memo = molecule.memo
        if key not in memo:
            if not molecule.valid:
                what = f"{molecule.text[:80]!r} is no molecule ({molecule.reason})"
                raise ValueError(f"{key}: {what}; ask for `valid` first")
            with rdBase.BlockLogs():
                memo[key] = compute(molecule)
        value: Value = memo[key]
        return value

    return function


def _invalid(text: str, reason: str) -> Molecule:
    return Molecule(text=text, canonical="", mol=None, reason=reason)


@functools.lru_cache(maxsize=CACHED_READINGS)
def _read(text: str, max_heavy_atoms: int, allow_dummies: bool) -> Molecule:
    if not text:
        return _invalid(text, "empty")
    if _FOREIGN.search(text):
        return _invalid(text, "characters")
    if len(text) > max_heavy_atoms and len(_HEAVY_ATOM.findall(text)) > max_heavy_atoms:
        return _invalid(text, "too many atoms")
    with rdBase.BlockLogs():
        try:
            return _parse(text, allow_dummies)
        except Exception:  # RDKit raises a dozen unrelated types from C++
            return _invalid(text, "sanitization")


def _parse(text: str, allow_dummies: bool) -> Molecule:
    mol = Chem.MolFromSmiles(text, _parameters(sanitize=True))
    if mol is None:
        return _invalid(text, _failure(text))
    if ":" in text:
        mol = _unmapped(mol)
    if (">" in text or "<" in text) and not _binds_metals(mol):
        return _invalid(text, "valence")
    canonical = Chem.MolToSmiles(mol)
    if "*" in canonical and not allow_dummies:
        return _invalid(text, "dummy atom")
    if mol.GetNumHeavyAtoms() == 0:
        return _invalid(text, "no heavy atom")
    return Molecule(text=text, canonical=canonical, mol=mol, reason="", memo=_memo(canonical))


@functools.lru_cache(maxsize=CACHED_MEMOS)
def _memo(canonical: str) -> dict[str, Any]:
    return {}


@functools.cache
def _parameters(*, sanitize: bool) -> Any:
    parameters: Any = Chem.SmilesParserParams()
    parameters.sanitize = sanitize
    parameters.allowCXSMILES = False
    parameters.parseName = False
    return parameters


def _binds_metals(mol: Any) -> bool:
    """Whether dative bonds go to metals alone; elsewhere they would give carbon a fifth bond."""
    table = Chem.GetPeriodicTable()
    return all(
        table.GetDefaultValence(bond.GetEndAtom().GetAtomicNum()) < 0
        for bond in mol.GetBonds()
        if bond.GetBondType() == Chem.BondType.DATIVE
    )


def _unmapped(mol: Any) -> Any:
    """Without atom map numbers, which would make copies of a molecule look different.

    It is read again, because numbers also make stereocentres of atoms that are none.
    """
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.MolFromSmiles(Chem.MolToSmiles(mol), _parameters(sanitize=True))


def _failure(text: str) -> str:
    """Why RDKit refused a text, from a second reading in steps."""
    mol = Chem.MolFromSmiles(text, _parameters(sanitize=False))
    if mol is None:
        return "syntax"
    failed = Chem.SanitizeMol(mol, catchErrors=True)
    return _SANITIZE_REASONS.get(failed, "sanitization")
