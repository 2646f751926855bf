"""Scaffolds with attachment points, the pieces that complete them, and molecules cut into both.

A point is a dummy atom `[*:n]`, n from 1 on. A scaffold of one part is decorated by pieces with one
point each; parts with a point each are linked by one piece with several. Wherever both sides have a
point of one number, they are joined by a single bond.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rdkit import Chem, rdBase

from rl4bio.chem.reading import read_smiles

MAX_POINTS = 4
SEPARATOR = ">"
"""Between a scaffold and its pieces, in the prompt of a model that writes the pieces."""
CUTS = {1: 7, 2: 7, 3: 4, 4: 2}
"""How often a molecule is cut at so many bonds."""
TRIES = 10
MIN_ATOMS = 3
"""Heavy atoms in each part of a scaffold that a molecule is cut into."""
_POINT = Chem.MolFromSmarts("[#0]")
_HETERO = [frozenset(pair) for pair in ((6, 7), (6, 8), (6, 16), (7, 16))]
"""Atomic numbers at the ends of bonds that are cut off a ring, too."""


def read_points(text: str) -> str:
    """A scaffold in the spelling that models are trained on: each part from its lowest point on.

    Points without numbers get them in the order of the text; BRICS' `[1*]` counts as `[*:1]`.

    Raises:
        ValueError: it is no molecule, or its points are no such points; the message says why.
    """
    molecule = read_smiles(text, allow_dummies=True)
    if not molecule.valid:
        raise ValueError(f"{text[:80]!r} is no molecule ({molecule.reason})")
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text)
    points = _points(mol)
    if not points:
        raise ValueError(
            f"{text[:80]!r} has no attachment point; write [*:1] where something is to be "
            "attached, as in c1ccc([*:1])cc1"
        )
    numbers = [atom.GetAtomMapNum() or atom.GetIsotope() for atom in points]
    if not any(numbers):
        numbers = list(range(1, len(points) + 1))
    _check_points(text, points, numbers)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    for atom, number in zip(points, numbers, strict=True):
        atom.SetIsotope(0)
        atom.SetAtomMapNum(number)
    parts = Chem.GetMolFrags(mol, asMols=True)
    if not all(map(_numbers, parts)):
        raise ValueError(f"{text[:80]!r} has a part without an attachment point; remove it")
    return _written(parts)


def _check_points(text: str, points: Sequence[Any], numbers: Sequence[int]) -> None:
    shown = repr(text[:80])
    if len(points) > MAX_POINTS:
        raise ValueError(f"{shown} has {len(points)} attachment points, at most {MAX_POINTS} work")
    number, count = Counter(numbers).most_common(1)[0]
    if number and count > 1:
        raise ValueError(f"{shown} has {count} attachment points of the number {number}")
    if sorted(numbers) != list(range(1, len(points) + 1)):
        listed = ", ".join(map(str, numbers))
        raise ValueError(
            f"{shown} numbers its attachment points {listed} (0 = not at all); number them from 1 "
            f"to {len(points)}"
        )
    for atom, number in zip(points, numbers, strict=True):
        if not _is_end(atom):
            raise ValueError(f"{shown}: point {number} needs one single bond to an atom")


@functools.lru_cache(maxsize=20_000)
def joined(scaffold: str, pieces: str) -> str:
    """Canonical SMILES of a scaffold with its pieces; "" where they do not make one molecule.

    The result contains the scaffold: its atoms and bonds, and something at each of its points.

    Args:
        scaffold: as `read_points` gives it.
        pieces: SMILES whose points have the scaffold's numbers, each once; any text.
    """
    found = read_smiles(pieces, allow_dummies=True)
    if not found.valid or "*" not in found.canonical:
        return ""
    with rdBase.BlockLogs():
        own, core = _scaffold(scaffold)
        added = Chem.MolFromSmiles(pieces)
        if _numbers(added) != _numbers(own) or not all(map(_is_end, _points(added))):
            return ""
        try:
            text = str(Chem.MolToSmiles(Chem.molzip(Chem.CombineMols(own, added))))
        except Exception:  # RDKit raises a dozen unrelated types from C++
            return ""
    whole = read_smiles(text)
    if not whole.valid or "." in whole.canonical or not whole.mol.HasSubstructMatch(core):
        return ""
    return whole.canonical


@functools.lru_cache(maxsize=1024)
def _scaffold(text: str) -> tuple[Any, Any]:
    """A scaffold with its points, and without: one atom of a link may stand at two of them."""
    mol = Chem.MolFromSmiles(text)
    return mol, Chem.DeleteSubstructs(mol, _POINT)


def cut(text: str, noise: random.Random) -> tuple[str, str] | None:
    """A molecule as scaffold and pieces, which `joined` makes into it again; None where no try did.

    One to four acyclic single bonds are cut that lie on a ring, between carbon and N, O or S, or
    between S and N. The parts lie on two sides, so that each cut goes from one to the other; one
    side is drawn to be the scaffold, which has a ring and no very small part. So a middle part is
    to be decorated, or outer ones to be linked.

    Args:
        text: SMILES of one molecule.
        noise: what is drawn from.
    """
    molecule = read_smiles(text)
    if not molecule.valid or "." in molecule.canonical:
        return None
    bonds = [bond.GetIdx() for bond in molecule.mol.GetBonds() if _is_cuttable(bond)]
    for _ in range(TRIES if bonds else 0):
        count = min(noise.choices(list(CUTS), weights=list(CUTS.values()))[0], len(bonds))
        sides = _sides(molecule.mol, noise.sample(bonds, count))
        noise.shuffle(sides)
        given, rest = sides
        if not _is_scaffold(given):
            given, rest = rest, given
        if not _is_scaffold(given):
            continue
        scaffold, pieces = _written(given), _written(rest)
        if joined(scaffold, pieces) == molecule.canonical:
            return scaffold, pieces
    return None


def _is_cuttable(bond: Any) -> bool:
    if bond.IsInRing() or bond.GetBondType() != Chem.BondType.SINGLE:
        return False
    ends = (bond.GetBeginAtom(), bond.GetEndAtom())
    return any(atom.IsInRing() for atom in ends) or (
        frozenset(atom.GetAtomicNum() for atom in ends) in _HETERO
    )


def _sides(mol: Any, bonds: Sequence[int]) -> list[list[Any]]:
    """The parts between some bonds, on two sides: no two that were neighbours on the same."""
    labels = [(number, number) for number in range(1, len(bonds) + 1)]
    parts = Chem.GetMolFrags(Chem.FragmentOnBonds(mol, bonds, dummyLabels=labels), asMols=True)
    for part in parts:
        for point in _points(part):
            point.SetAtomMapNum(point.GetIsotope())
            point.SetIsotope(0)
    numbers = list(map(_numbers, parts))
    side, reached = {0: 0}, [0]
    while reached:  # the parts are a tree, so that every one is reached on one way
        here = reached.pop()
        for other in range(len(parts)):
            if other not in side and numbers[other] & numbers[here]:
                side[other] = 1 - side[here]
                reached.append(other)
    return [[part for n, part in enumerate(parts) if side[n] == which] for which in (0, 1)]


def _is_scaffold(parts: Sequence[Any]) -> bool:
    sizes = [part.GetNumHeavyAtoms() for part in parts]
    return min(sizes) >= MIN_ATOMS and any(part.GetRingInfo().NumRings() for part in parts)


def _numbers(mol: Any) -> Counter[int]:
    """The numbers of its points, and how often each comes."""
    return Counter(point.GetAtomMapNum() for point in _points(mol))


def _points(mol: Any) -> list[Any]:
    return [mol.GetAtomWithIdx(index) for (index,) in mol.GetSubstructMatches(_POINT)]


def _is_end(point: Any) -> bool:
    """Whether a point has one single bond, to an atom that is no point."""
    bonds = point.GetBonds()
    single = len(bonds) == 1 and bonds[0].GetBondType() == Chem.BondType.SINGLE
    return single and bonds[0].GetOtherAtom(point).GetAtomicNum() > 0


def _written(parts: Sequence[Any]) -> str:
    """Parts as SMILES, each from its lowest point on, in the order of these."""
    roots = [min((p.GetAtomMapNum(), p.GetIdx()) for p in _points(part)) for part in parts]
    order = sorted(range(len(parts)), key=lambda n: roots[n][0])
    return ".".join(str(Chem.MolToSmiles(parts[n], rootedAtAtom=roots[n][1])) for n in order)
