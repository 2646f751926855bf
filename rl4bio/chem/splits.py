"""Splits of molecules: by chance, or so that no scaffold is on both sides."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rl4bio.chem.identity import parent_scaffold, same_name
from rl4bio.chem.reading import Molecule
from rl4bio.errors import DataError

log = logging.getLogger("rl4bio")

SplitKind = Literal["random", "scaffold"]


def split_groups(
    molecules: Sequence[Molecule], fractions: Sequence[float], *, kind: SplitKind, seed: int
) -> list[list[int]]:
    """Row numbers of the held-out parts and, last, of the rest; no group is in two parts.

    A group holds the rows of one `same_name` without stereochemistry (random) or of its scaffold
    (scaffold, Bemis-Murcko; acyclic molecules, which have none, by that name). Groups come in an
    order fixed by their names and the seed, and a part takes groups until it has its share of
    rows; a group of more than half a part's share goes to the rest, so that one large series does
    not make up a test set.

    Args:
        molecules: valid ones.
        fractions: of each held-out part, in [0, 1), together below 1.
        kind: of the groups.
        seed: of the order.

    Returns:
        len(fractions) + 1 lists, each in the order of the rows.
    """
    names = [
        (parent_scaffold(molecule) if kind == "scaffold" else "")
        or same_name(molecule, stereo=False)
        for molecule in molecules
    ]
    return split_names(names, fractions, seed=seed, spread=kind == "scaffold")


def split_names(
    names: Sequence[str], fractions: Sequence[float], *, seed: int, spread: bool = False
) -> list[list[int]]:
    """As `split_groups`, of rows whose groups have names already.

    Args:
        names: of the group of each row.
        fractions: of each held-out part.
        seed: of the order of groups.
        spread: a group of more than half a part's share goes to the rest.
    """
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        groups.setdefault(name, []).append(row)
    order = sorted(groups)
    random.Random(f"split/{seed}").shuffle(order)
    parts: list[list[int]] = [[] for _ in fractions]
    wanted = [round(share * len(names)) for share in fractions]
    rest: list[int] = []
    for name in order:
        rows = groups[name]
        place = next((n for n, part in enumerate(parts) if len(part) < wanted[n]), None)
        if place is None or (spread and 2 * len(rows) > wanted[place]):
            rest += rows
        else:
            parts[place] += rows
    return [sorted(part) for part in (*parts, rest)]


Leaks = Literal["fail", "drop", "keep"]
"""A split that a file marks with a molecule on both sides: refuse it, leave the training rows of
such molecules out, or take it as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOverlap:
    """What the splits of a table hold, and what of it is in training too."""

    rows: Mapping[str, int]
    """Split -> its rows."""
    parents: Mapping[str, frozenset[str]]
    """Split -> parents of its molecules, without stereochemistry."""
    scaffolds: Mapping[str, frozenset[str]] | None = None
    """Split -> their scaffolds, "" left out; None = not looked at."""

    @classmethod
    def of(
        cls, splits: Sequence[str], parents: Sequence[str], scaffolds: Sequence[str] | None = None
    ) -> SplitOverlap:
        """Of N rows, each with its split, its parent and, where known, its scaffold."""

        def by_split(values: Sequence[str]) -> dict[str, frozenset[str]]:
            found: dict[str, set[str]] = {}
            for split, value in zip(splits, values, strict=True):
                found.setdefault(split, set()).update([value] if value else [])
            return {split: frozenset(own) for split, own in found.items()}

        return cls(
            rows=Counter(splits),
            parents=by_split(parents),
            scaffolds=None if scaffolds is None else by_split(scaffolds),
        )

    @property
    def shared(self) -> frozenset[str]:
        """Parents that are in training and in another split, or in two others."""
        seen: set[str] = set()
        found: set[str] = set()
        for own in self.parents.values():
            found |= seen & own
            seen |= own
        return frozenset(found)

    def __str__(self) -> str:
        """One line: rows, parents and scaffolds of each split, and what training shares."""
        texts = []
        for split in sorted(self.rows, key=["train", "val", "test"].index):
            parts = [f"{self.rows[split]:,} rows", self._count(self.parents, "parents", split)]
            if self.scaffolds is not None:
                parts.append(self._count(self.scaffolds, "scaffolds", split))
            texts.append(f"{split} {', '.join(parts)}")
        return "; ".join(texts)

    def _count(self, sets: Mapping[str, frozenset[str]], what: str, split: str) -> str:
        text = f"{len(sets[split]):,} {what}"
        if split == "train" or "train" not in sets:
            return text
        return f"{text} ({len(sets[split] & sets['train'])} in train)"


def check_leaks(overlap: SplitOverlap, leaks: Leaks, *, source: str, option: str) -> frozenset[str]:
    """Parents whose training rows are to be left out; none where nothing leaks or all is kept.

    Raises:
        DataError: molecules are on two sides, under `fail`.
    """
    shared = overlap.shared
    if not shared or leaks == "keep":
        return frozenset()
    what = (
        f"{source}: {len(shared)} molecules are in two of its splits, such as {min(shared)} "
        "(salts, isotopes, stereoisomers and other spellings count as one)"
    )
    if leaks == "fail":
        raise DataError(
            f"{what}; set {option} to drop, which leaves them out of training, or to keep"
        )
    log.warning("%s; left out of training (%s)", what, option)
    return shared
