"""Which molecules train, which are held out, and which of them a model can read."""

from __future__ import annotations

import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from rl4bio.chem.randomize import without_stereo
from rl4bio.chem.tokens import split_smiles
from rl4bio.data.base import Split
from rl4bio.data.smiles.rows import SmilesRow
from rl4bio.errors import DataError

log = logging.getLogger("rl4bio")

UnknownTokens = Literal["fail", "drop", "strip_stereo"]
"""Molecules with tokens that a model does not know: stop and say which, leave them out, or take
away their stereochemistry and leave out those that still have some."""


def divide_rows(rows: Sequence[SmilesRow], shares: Mapping[Split, float], *, seed: int) -> None:
    """Give every row a split: its own, or one that is drawn where the file has no such rows.

    Args:
        rows: of the whole file.
        shares: of the molecules, for val and for test.
        seed: of the draw.
    """
    missing = {k: v for k, v in shares.items() if all(row.split != k for row in rows)}
    if rows and any(missing.values()):
        draw_splits(rows, missing, seed=seed)
    for row in rows:
        row.split = row.split or "train"


def draw_splits(rows: Sequence[SmilesRow], fractions: Mapping[Split, float], *, seed: int) -> None:
    """Mark a seeded share of the molecules of `train` or of no split as val and as test.

    Molecules of one parent (other spellings, salts, isotopes, stereoisomers) come into the same
    split. A fraction above 0 gives at least one molecule.

    Raises:
        DataError: no molecule would be left for training.
    """
    free = [row for row in rows if row.split in (None, "train")]
    keys = [row.parent or row.text for row in free]
    order = list(dict.fromkeys(keys))
    random.Random(f"{seed}/split").shuffle(order)
    marks: dict[str, Split] = {}
    start = 0
    for split, fraction in fractions.items():
        size = max(1, round(fraction * len(order))) if fraction else 0
        marks.update(dict.fromkeys(order[start : start + size], split))
        start += size
    if start >= len(order):
        raise DataError(
            f"data.options: {len(order)} molecules are too few for val_fraction and test_fraction; "
            "lower them, or give more rows"
        )
    for row, key in zip(free, keys, strict=True):
        row.split = marks.get(key, "train")


def fit_vocabulary(
    rows: Sequence[SmilesRow],
    known: frozenset[str],
    *,
    limit: float,
    policy: UnknownTokens,
    source: str,
) -> list[SmilesRow]:
    """The rows that a model with these tokens can read, after the policy for the others.

    One warning says how many rows have other tokens, which, and what became of them; another
    counts those that are too long.

    Args:
        rows: tokenized.
        known: the model's tokens.
        limit: most tokens of a row.
        policy: see `UnknownTokens`.
        source: name of the file, for messages.

    Raises:
        DataError: there are rows with other tokens, and the policy is to fail.
    """
    strangers = [row for row in rows if not row.tokens <= known]
    if not strangers:
        return short_rows(rows, limit, source=source)
    flat = {row.line: stripped(row) for row in strangers}
    fits = {line: row for line, row in flat.items() if row.tokens <= known}
    missing = Counter(token for row in strangers for token in row.tokens - known)
    listed = ", ".join(f"{token} in {count}" for token, count in missing.most_common(8))
    lines = ", ".join(str(row.line) for row in strangers[:3])
    what = (
        f"{len(strangers)} of {len(rows)} molecules of {source} "
        f"({len(strangers) / len(rows):.1%}; first lines {lines}) have tokens that the model does "
        f"not know: {listed}{', ...' if len(missing) > 8 else ''}"
    )
    if policy == "fail":
        plain = sum(row.tokens <= known and row.num_tokens <= limit for row in rows)
        more = sum(row.num_tokens <= limit for row in fits.values())
        raise DataError(
            f"{what}; set data.options.unknown_tokens to drop, which keeps {plain} molecules, or "
            f"to strip_stereo, which removes their stereochemistry and keeps {plain + more}"
        )
    if policy == "drop":
        fits = {}
    left_out = len(strangers) - len(fits)
    log.warning("%s; %d kept without stereochemistry, %d left out", what, len(fits), left_out)
    kept = (row if row.tokens <= known else fits.get(row.line) for row in rows)
    return short_rows([row for row in kept if row is not None], limit, source=source)


def stripped(row: SmilesRow) -> SmilesRow:
    """The row without stereochemistry."""
    text, scaffold = without_stereo(row.text), without_stereo(row.scaffold)
    tokens = split_smiles(text)
    return dataclasses.replace(
        row,
        text=text,
        scaffold=scaffold,
        first=tokens[0],
        num_tokens=len(tokens),
        tokens=frozenset([*tokens, *split_smiles(scaffold)]),
    )


def short_scaffolds(rows: Sequence[SmilesRow], limit: float, *, source: str) -> list[SmilesRow]:
    """The rows whose scaffold has at most `limit` tokens; a warning counts the others."""
    lengths = {text: len(split_smiles(text)) for text in {row.scaffold for row in rows}}
    kept = [row for row in rows if lengths[row.scaffold] <= limit]
    if len(kept) < len(rows):
        first = next(row for row in rows if lengths[row.scaffold] > limit)
        log.warning(
            "%d of %d molecules of %s have a scaffold of more than the %d tokens that the model "
            "takes, such as line %d, and are left out",
            len(rows) - len(kept),
            len(rows),
            source,
            limit,
            first.line,
        )
    return kept


def short_rows(rows: Sequence[SmilesRow], limit: float, *, source: str) -> list[SmilesRow]:
    """The rows of at most `limit` tokens; a warning counts the others."""
    kept = [row for row in rows if row.num_tokens <= limit]
    if len(kept) < len(rows):
        log.warning(
            "%d of %d molecules of %s have more than %d tokens and are left out",
            len(rows) - len(kept),
            len(rows),
            source,
            limit,
        )
    return kept
