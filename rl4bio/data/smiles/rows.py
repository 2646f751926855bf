"""Molecules picked from a table: their values, the split that the file marks, their tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl4bio.chem.tables import MISSING, Table
from rl4bio.chem.tokens import END, TokenError, split_smiles
from rl4bio.data.base import Split
from rl4bio.errors import DataError
from rl4bio.files.folders import read_one_table
from rl4bio.text.redaction import shown

SPLITS: dict[str, Split | None] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    "test": "test",
    "test_scaffolds": None,
}
"""What a split column may say, in any case. MOSES' test_scaffolds is another test set than `test`:
its scaffolds are in no training row, so it is left out rather than mixed in."""

WITHOUT_VALUE = "without a value"
"""Why a row is left out that nobody asked to leave out."""


@dataclass(slots=True, kw_only=True)
class SmilesRow:
    """One molecule as the file has it."""

    text: str
    line: int
    scaffold: str = ""
    properties: list[float] = field(default_factory=list)
    split: Split | None = None
    """None where the file marks none."""
    first: str = ""
    """First token of the text."""
    num_tokens: int = 0
    tokens: frozenset[str] = frozenset()
    """Of text and scaffold."""
    parent: str = ""
    """Its `same_name` without stereochemistry; "" where the text is no molecule."""


def saved_table(folder: Path) -> Table:
    """The table of a folder that `Dataset.save_to_disk` wrote; rows count as lines.

    Raises:
        DataError: it is another kind of folder, does not read, or has several splits.
    """
    rows = read_one_table(folder)
    columns = list(dict.fromkeys(name for row in rows for name in row.fields))
    names = [str(name).strip().lower() for name in columns]
    cells = [[row.fields.get(name) for name in columns] for row in rows]
    texts = [["" if cell is None else str(cell) for cell in own] for own in cells]
    return Table(path=folder, names=names, rows=texts, lines=list(range(1, len(rows) + 1)))


def number_of(cell: str, place: str, column: str) -> float:
    """The number in a cell; NaN where it has none, or no finite one.

    Raises:
        DataError: the cell holds something else.
    """
    try:
        value = float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        raise DataError(
            f"{place}: {column} is {shown(cell)}, which is no number; correct the cell, or empty "
            "it to leave the row out"
        ) from None
    return value if math.isfinite(value) else math.nan


def split_labels(table: Table, column: str | None) -> list[str] | None:
    """The lower-cased split of each row, or None where the file marks no splits.

    Args:
        table: of molecules.
        column: None looks for `split`, then for a `source` whose every value is a split; an empty
            name for none.

    Raises:
        DataError: there is no such column, or it holds something else than splits.
    """
    if column == "":
        return None
    names = [column] if column is not None else [n for n in ("split", "source") if n in table.names]
    for name in names:
        index = table.index(name, option="data.options.split_column")
        labels = [cells[index].strip().lower() for cells in table.rows]
        odd = next((n for n, label in enumerate(labels) if label not in SPLITS), None)
        if odd is None:
            return labels
        if name != "source" or column is not None:
            raise DataError(
                f"{table.place(odd)}: {name} is {shown(labels[odd])}, which is no split (train, "
                "val, test); name another column with data.options.split_column, or set it to "
                "'' to draw the splits"
            )
    return None


def tokenize_rows(table: Table, rows: Sequence[SmilesRow]) -> None:
    """Fill in first token, number of tokens and set of tokens of every row.

    Raises:
        DataError: rows have characters that are no SMILES token; the first ten are named.
    """
    known: dict[frozenset[str], frozenset[str]] = {}
    scaffolds: dict[str, frozenset[str]] = {"": frozenset()}  # most are shared by many rows
    problems: list[str] = []
    for row in rows:
        try:
            tokens = split_smiles(row.text)
            if row.scaffold not in scaffolds:
                scaffolds[row.scaffold] = frozenset(split_smiles(row.scaffold))
            found = scaffolds[row.scaffold].union(tokens)
            if END in found:
                raise TokenError(f"{END!r} in {row.text[:80]!r} is no part of a SMILES")
        except TokenError as error:
            problems.append(f"{table.path}:{row.line}: {error}")
            continue
        row.first, row.num_tokens = tokens[0], len(tokens)
        row.tokens = known.setdefault(found, found)
    if problems:
        more = f"; and {len(problems) - 5} more rows" if len(problems) > 5 else ""
        raise DataError(
            f"{'; '.join(problems[:5])}{more}; correct these rows or remove them"
            + (", or name the column with data.options.smiles_column" if len(rows) > 1 else "")
        )


def pick_rows(
    table: Table,
    *,
    smiles: int,
    labels: Sequence[str] | None,
    scaffolds: bool,
    properties: Sequence[str],
    where: Mapping[str, Sequence[float | None]],
    left_out: Counter[str],
) -> list[SmilesRow]:
    """The rows inside the ranges that have every value asked for.

    Args:
        table: of molecules.
        smiles: place of their column.
        labels: split of each row, or None.
        scaffolds: read scaffold_smiles; it may be empty (a molecule without rings).
        properties: columns of numbers, in the order wanted.
        where: column -> [lowest, highest].
        left_out: reason -> count, which is added to.
    """
    scaffold = table.index("scaffold_smiles", option="data.options.scaffold") if scaffolds else None
    given = [(name, table.index(name, option="data.options.properties")) for name in properties]
    ranges = [
        (name, table.index(name, option="data.options.where"), ends) for name, ends in where.items()
    ]
    rows: list[SmilesRow] = []
    for number, cells in enumerate(table.rows):
        split = None if labels is None else SPLITS[labels[number]]
        if labels is not None and split is None:
            left_out[f"of {labels[number]}"] += 1
            continue
        text = cells[smiles].strip()
        place = table.place(number) if given or ranges else ""
        values = [number_of(cells[index], place, name) for name, index in given]
        limited = [(number_of(cells[index], place, name), ends) for name, index, ends in ranges]
        if text.lower() in MISSING or any(
            map(math.isnan, [*values, *(value for value, _ in limited)])
        ):
            left_out[WITHOUT_VALUE] += 1
        elif not all(inside(value, ends) for value, ends in limited):
            left_out["outside where"] += 1
        else:
            row = SmilesRow(text=text, line=table.lines[number], properties=values, split=split)
            row.scaffold = "" if scaffold is None else cells[scaffold].strip()
            rows.append(row)
    return rows


def check_ranges(where: Mapping[str, Sequence[float | None]]) -> None:
    """Raise a ValueError for anything but column -> [lowest, highest]."""
    for column, limits in where.items():
        ends = [value for value in limits if value is not None]
        if len(limits) != 2 or not ends or ends != sorted(ends) or math.isnan(sum(ends)):
            raise ValueError(
                f"where.{column}: got {list(limits)}, needs [lowest, highest], null for no limit"
            )


def inside(value: float, ends: Sequence[float | None]) -> bool:
    """Whether a value lies in [lowest, highest]; None is no limit."""
    low, high = ends
    return (low is None or value >= low) and (high is None or value <= high)
