"""Items of therapeutic tasks: the inputs, the label and the split of every row that can be used."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.data.base import Split
from rl4bio.data.smiles.rows import SPLITS
from rl4bio.data.therapeutics.prompts import Form, Template, write_completion
from rl4bio.data.therapeutics.tables import Columns, plain_label, read_letters, read_table_rows
from rl4bio.data.therapeutics.tasks import SplitWay, TherapeuticsTask
from rl4bio.errors import DataError
from rl4bio.files.fields import clean, is_missing
from rl4bio.files.rows import Row, raise_problems
from rl4bio.text.redaction import shown

UNUSABLE = "that cannot be used"
CACHED_NAMES = 100_000
"""Molecules whose canonical SMILES and scaffold are kept: those of one table of many assays."""


@dataclass(kw_only=True)
class TherapeuticsRecord:
    """One item of one task."""

    template: Template
    inputs: dict[str, str]
    way: SplitWay
    """How its table is split."""
    place: str
    key: str
    """The inputs with molecules as canonical SMILES: equal for copies of an item."""
    group: str
    """What the splits keep together: the scaffold or the canonical SMILES of the first molecule, or
    all inputs where there is no molecule."""
    answer: str = ""
    """A or B, canonical SMILES, or "" where the label is a number or there is none."""
    value: float = math.nan
    """The label of a task of bins, in its own unit."""
    reasoning: str = ""
    split: Split | None = None
    """As the file marks it; None where it does not."""

    @functools.cached_property
    def uid(self) -> str:
        """t-<hash> of the task and the key."""
        text = f"{self.template.task}\n{self.key}"
        return f"t-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def label(self) -> str | float:
        """What copies of an item must agree in."""
        return self.value if self.template.kind == "bin" else self.answer

    @property
    def input(self) -> str:
        """SMILES of the first molecule as the table writes it, "" where there is none."""
        return self.inputs[self.template.molecules[0]] if self.template.molecules else ""


class _LeftOut(Exception):
    """The row is to be left out without complaint; the text says why."""


def read_entry(
    entry: TherapeuticsTask,
    template: Template,
    *,
    way: SplitWay,
    form: Form,
    bad_rows: Literal["fail", "drop"],
    seed: int,
    left_out: Counter[str],
) -> list[TherapeuticsRecord]:
    """The records of one table, in its order.

    Args:
        entry: of `tasks`.
        template: of its task.
        way: how it is split.
        form: of demonstrations; a reasoning that breaks it spoils its row.
        bad_rows: what to do with rows that cannot be used.
        seed: of made-up rows.
        left_out: reason -> count, which is added to.

    Raises:
        DataError: the table does not read, lacks a column, has labels that fit no question, or has
            rows that cannot be used under "fail" (the first ten, each with its line).
    """
    if entry.source is None:
        place = f"task {entry.task}"
        return [
            TherapeuticsRecord(template=template, inputs={}, way=way, place=place, key="", group="")
        ]
    rows = read_table_rows(entry, seed)
    columns = Columns(rows, entry, template, way)
    letters = read_letters(rows, columns.label, entry) if template.kind == "option" else {}
    records: list[TherapeuticsRecord] = []
    problems: list[str] = []
    for row in rows:
        try:
            records.append(_read_row(row, columns, letters, form))
        except _LeftOut as why:
            left_out[str(why)] += 1
        except ValueError as error:
            problems.append(f"{row.place}: {error}")
    if problems and bad_rows == "fail":
        try:
            raise_problems(problems)
        except DataError as error:
            advice = "correct the rows, or set data.options.bad_rows to drop to leave them out"
            raise DataError(f"{error}; {advice}") from None
    if problems:
        left_out[UNUSABLE] += len(problems)
    if not records:
        reason = problems[0] if problems else f"no label in column {columns.label!r}"
        raise DataError(f"{entry.source}: no row of {entry.task} can be used: {reason}")
    return records


def _read_row(
    row: Row, columns: Columns, letters: Mapping[str, str], form: Form
) -> TherapeuticsRecord:
    """One record.

    Raises:
        ValueError: the row cannot be used; says what is wrong.
        _LeftOut: it has no label, or is of no split.
    """
    template = columns.template
    split = _split_of(row, columns)
    label = row.fields.get(columns.label) if columns.label else None
    if columns.label and not plain_label(label):
        raise _LeftOut("without a label")
    inputs = {
        placeholder: clean(row.fields.get(column), column)
        for placeholder, column in columns.inputs.items()
    }
    template.fill(inputs)
    keys: dict[str, str] = {}
    group = ""
    for placeholder, text in inputs.items():
        keys[placeholder] = text
        if placeholder in template.molecules:
            by_scaffold = columns.way == "scaffold" and not group
            column = columns.inputs[placeholder]
            keys[placeholder], core = _named(column, text, by_scaffold=by_scaffold)
            group = group or core or keys[placeholder]
    key = "\n".join(f"{name}: {text}" for name, text in keys.items())
    record = TherapeuticsRecord(
        template=template,
        inputs=inputs,
        way=columns.way,
        place=row.place,
        key=key,
        group=group or key,
        split=split,
    )
    _read_label(record, label, columns.label, letters)
    if columns.reasoning and not is_missing(row.fields.get(columns.reasoning)):
        record.reasoning = clean(row.fields[columns.reasoning], columns.reasoning)
        write_completion(record.answer or "000", form, reasoning=record.reasoning)
    return record


def _split_of(row: Row, columns: Columns) -> Split | None:
    if columns.way in ("train", "val", "test"):
        return columns.way
    if not columns.split:
        return None
    mark = str(row.fields.get(columns.split, "")).strip().lower()
    if mark not in SPLITS:
        raise ValueError(f"{columns.split} is {shown(mark)}, needs train, val (valid) or test")
    split = SPLITS[mark]
    if split is None:
        raise _LeftOut(f"of {mark}")
    return split


def _named(column: str, text: str, *, by_scaffold: bool = False) -> tuple[str, str]:
    """`_molecule`, with the column in its message."""
    try:
        return _molecule(text, by_scaffold)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


@functools.lru_cache(maxsize=CACHED_NAMES)
def _molecule(text: str, by_scaffold: bool) -> tuple[str, str]:
    """Canonical SMILES, and the scaffold where it is asked for and there is one.

    Raises:
        ValueError: RDKit cannot read the text.
    """
    molecule = read_smiles(text, allow_dummies=True)
    if not molecule.valid:
        raise ValueError(f"{shown(text)} is no molecule ({molecule.reason})")
    return molecule.canonical, scaffold(molecule) if by_scaffold else ""


def _read_label(
    record: TherapeuticsRecord, label: Any, column: str, letters: Mapping[str, str]
) -> None:
    """Fill in the answer.

    Raises:
        ValueError: the label is no answer to the question.
    """
    kind = record.template.kind
    if kind == "option":
        record.answer = letters[plain_label(label)]
    elif kind == "bin":
        try:
            record.value = float(label)
        except (TypeError, ValueError):
            record.value = math.nan
        if not math.isfinite(record.value):
            raise ValueError(f"{column} is {shown(label)}, needs a number")
    elif column:
        record.answer, _ = _named(column, clean(label, column))
