"""A look at molecules before they train a model: are they any, copies, on both sides of a split?"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Sequence
from typing import Literal

from rl4bio.chem.identity import parent, same_name, scaffold_spelling
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.splits import Leaks, SplitOverlap, check_leaks
from rl4bio.data.smiles.rows import SmilesRow
from rl4bio.errors import DataError
from rl4bio.text.redaction import shown

log = logging.getLogger("rl4bio")

BadRows = Literal["warn", "drop", "keep"]
"""Rows that are no molecules: warn of them, and refuse a file that is mostly of them; leave them
out; or take them without a word."""
MOST = 0.5
"""Share of rows that are no molecules from which a file is refused under `warn`."""
MANY, DRAWN = 10_000, 4_000
"""Rows of a file that are all read, and rows of a larger one that are drawn first: where nearly all
of those are written as their own parents, as in MOSES' files, the others are taken to be, too."""
NEARLY_ALL = 0.99
SCAFFOLDS_DRAWN = 1_000
"""Different scaffolds that are read; those of a file with more are read too where one changes."""
NAMED = 3

_SELFIES = re.compile(r"(?:\[[^\]]+\]\.?)+")
_SELFIES_ALONE = re.compile(r"\[(?:[=#/\\]?(?:Branch|Ring)\d?|[=#][A-Z])|\[[CNOS]\]\[[CNOS]\]")
"""Tokens that no SMILES has, and atoms in a row without hydrogens that nobody writes."""


def spell_scaffolds(rows: Sequence[SmilesRow], *, source: str) -> None:
    """Write the scaffolds of rows as prompts write them: canonical, aromatic, without stereo."""
    different = sorted({row.scaffold for row in rows} - {""})
    drawn = random.Random(0).sample(different, min(SCAFFOLDS_DRAWN, len(different)))
    spelled = {text: scaffold_spelling(text) for text in drawn}
    if all(text == found for text, found in spelled.items()):
        return
    spelled |= {text: scaffold_spelling(text) for text in different if text not in spelled}
    changed = [row for row in rows if spelled.get(row.scaffold, row.scaffold) != row.scaffold]
    log.warning(
        "%s: the scaffolds of %d of %d rows are written canonically, such as %s of line %d as %s",
        source,
        len(changed),
        len(rows),
        shown(changed[0].scaffold),
        changed[0].line,
        shown(spelled[changed[0].scaffold]),
    )
    for row in changed:
        row.scaffold = spelled[row.scaffold]


def look_at(rows: Sequence[SmilesRow], *, source: str, bad_rows: BadRows) -> list[SmilesRow]:
    """The rows with their parents, "" for those that are no molecules; a warning counts those.

    Raises:
        DataError: the file holds SELFIES, or most rows are no molecules, under `warn`; none is one.
    """
    if len(rows) > MANY:
        if _are_parents(random.Random(0).sample(list(rows), DRAWN)):
            for row in rows:
                row.parent = row.text
            return list(rows)
        log.info("%s: reading %d molecules (about a minute for 100,000)", source, len(rows))
    selfies = sum(bool(_SELFIES.fullmatch(row.text)) for row in rows)
    telling = any(_SELFIES_ALONE.search(row.text) for row in rows)
    if rows and telling and 2 * selfies > len(rows) and bad_rows != "keep":
        raise DataError(
            f"{source}: {selfies} of {len(rows)} rows are SELFIES, such as {shown(rows[0].text)}; "
            "these models write SMILES: decode them first (selfies.decoder), or set "
            "data.options.bad_rows to keep"
        )
    reasons: dict[str, list[SmilesRow]] = {}
    copies = 0
    here: set[str] = set()
    for row in rows:
        molecule = read_smiles(row.text, allow_dummies=True)
        row.parent = same_name(molecule, stereo=False)
        if not molecule.valid:
            reasons.setdefault(molecule.reason, []).append(row)
        copies += molecule.valid and molecule.canonical in here
        here.add(molecule.canonical)
    if copies:
        log.info("%s: %d of %d rows are copies of earlier ones", source, copies, len(rows))
    return _without_bad(rows, reasons, source=source, bad_rows=bad_rows)


def _are_parents(rows: Sequence[SmilesRow]) -> bool:
    """Whether all rows are molecules and nearly all are written as their own parents."""
    found = [parent(read_smiles(row.text), stereo=False) for row in rows]
    same = sum(name == row.text for name, row in zip(found, rows, strict=True))
    return all(found) and same >= NEARLY_ALL * len(rows)


def _without_bad(
    rows: Sequence[SmilesRow],
    reasons: dict[str, list[SmilesRow]],
    *,
    source: str,
    bad_rows: BadRows,
) -> list[SmilesRow]:
    bad = sum(map(len, reasons.values()))
    if not bad or bad_rows == "keep":
        return list(rows)
    listed = ", ".join(f"{len(own)} {reason}" for reason, own in reasons.items())
    first = [row for own in reasons.values() for row in own][:NAMED]
    named = ", ".join(f"line {row.line} {shown(row.text)}" for row in first)
    what = f"{source}: {bad} of {len(rows)} rows ({bad / len(rows):.0%}) are no molecules: {listed}"
    if bad_rows == "drop" and bad < len(rows):
        log.warning("%s; left out (data.options.bad_rows)", what)
        return [row for row in rows if row.parent]
    if bad > MOST * len(rows):
        raise DataError(
            f"{what}; such as {named}; were the strings cut, or is it another column? Set "
            "data.options.bad_rows to drop or keep to go on"
        )
    log.warning("%s; such as %s; data.options.bad_rows: drop leaves them out", what, named)
    return list(rows)


def check_split(
    rows: Sequence[SmilesRow], *, source: str, marked: bool, leaks: Leaks
) -> list[SmilesRow]:
    """The rows without what leaks, after the policy; a line states what the splits share.

    Raises:
        DataError: the file's own split has copies on both sides, under `fail`.
    """
    names = [row.parent or row.text for row in rows]
    overlap = SplitOverlap.of([row.split or "train" for row in rows], names)
    log.info("%s: %s", source, overlap)
    if not marked:
        return list(rows)
    dropped = check_leaks(overlap, leaks, source=source, option="data.options.leaks")
    return [
        row
        for row, name in zip(rows, names, strict=True)
        if not (row.split == "train" and name in dropped)
    ]
