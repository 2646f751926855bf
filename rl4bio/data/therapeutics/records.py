"""Items of therapeutic tasks: the inputs, the label and the split of every row that can be used."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rl4bio.chem.identity import parent_scaffold, same_name
from rl4bio.chem.measurements import Measure, find_measure, on_p_scale
from rl4bio.chem.reading import read_smiles
from rl4bio.data.base import Split
from rl4bio.data.smiles.rows import SPLITS
from rl4bio.data.therapeutics.prompts import Form, Template, demonstrate
from rl4bio.data.therapeutics.tables import Columns, plain_label, read_letters, read_table_rows
from rl4bio.data.therapeutics.tasks import SplitWay, TherapeuticsTask
from rl4bio.errors import DataError
from rl4bio.files.fields import clean, is_missing
from rl4bio.files.rows import BAD_ROWS, Row, raise_problems
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
    """What the splits keep together: the first molecule's parent or scaffold; all inputs where
    there is no molecule."""
    same: str = ""
    """The inputs with molecules as their parents: equal where splits must not part two items."""
    core: str = ""
    """Scaffold of the first molecule's parent, "" where it has none."""
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
        """SMILES of the first molecule as the prompt writes it, "" where there is none."""
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
    measure = _find_measure(rows, columns) if template.kind == "bin" else None
    records: list[TherapeuticsRecord] = []
    problems: list[str] = []
    for row in rows:
        try:
            records.append(_read_row(row, columns, letters, measure, form))
        except _LeftOut as why:
            left_out[str(why)] += 1
        except ValueError as error:
            problems.append(f"{row.place}: {error}")
    if problems and bad_rows == "fail":
        raise_problems(problems, advice=BAD_ROWS)
    left_out += Counter({UNUSABLE: len(problems)})
    if not records:
        others = ", ".join(why for why in left_out if why != "without a label")
        reason = problems[0] if problems else others or f"no label in column {columns.label!r}"
        raise DataError(f"{entry.source}: no row of {entry.task} can be used: {reason}")
    return records


def _read_row(
    row: Row,
    columns: Columns,
    letters: Mapping[str, str],
    measure: Measure | None,
    form: Form,
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
    if measure is not None and (reason := measure.refusal(row.fields, str(label))):
        raise _LeftOut(reason)
    inputs = {
        placeholder: clean(row.fields.get(column), column)
        for placeholder, column in columns.inputs.items()
    }
    template.fill(inputs)
    keys, parents = dict(inputs), dict(inputs)
    core, group = "", ""
    for placeholder in template.molecules:
        column = columns.inputs[placeholder]
        keys[placeholder], parents[placeholder], own = _named(column, inputs[placeholder])
        if not group:
            core = own
            group = (core if columns.way == "scaffold" else "") or parents[placeholder]
    key = "\n".join(f"{name}: {text}" for name, text in keys.items())
    record = TherapeuticsRecord(
        template=template,
        inputs=keys if columns.entry.canonical else inputs,
        way=columns.way,
        place=row.place,
        key=key,
        group=group or key,
        same="\n".join(parents.values()),
        core=core,
        split=split,
    )
    _read_label(record, label, columns.label, letters)
    if measure is not None:
        record.value = _rescaled(record.value, row, columns, measure)
    if columns.reasoning and not is_missing(row.fields.get(columns.reasoning)):
        record.reasoning = clean(row.fields[columns.reasoning], columns.reasoning)
        demonstrate(record.answer or "000", form, reasoning=record.reasoning)
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


def _named(column: str, text: str) -> tuple[str, str, str]:
    """`_molecule`, with the column in its message."""
    try:
        return _molecule(text)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


@functools.lru_cache(maxsize=CACHED_NAMES)
def _molecule(text: str) -> tuple[str, str, str]:
    """Canonical SMILES; `same_name` without stereochemistry; its scaffold, "" where there is none.

    Raises:
        ValueError: RDKit cannot read the text.
    """
    molecule = read_smiles(text, allow_dummies=True)
    if not molecule.valid:
        raise ValueError(f"{shown(text)} is no molecule ({molecule.reason})")
    return molecule.canonical, same_name(molecule, stereo=False), parent_scaffold(molecule)


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
        record.answer, *_ = _named(column, clean(label, column))


def _find_measure(rows: Sequence[Row], columns: Columns) -> Measure:
    """What the columns of a table of numbers say of them.

    Raises:
        DataError: the numbers are of several types or units, and none was chosen.
    """
    entry = columns.entry
    cells = [row.fields for row in rows]
    measure = find_measure(
        list(dict.fromkeys(name for own in cells for name in own)),
        cells,
        columns.label,
        types=[entry.type] if entry.type else [],
        place=str(entry.source),
        option=f"the option type of task {entry.task}",
    )
    own = measure.columns.get("unit")
    if own and entry.unit is None:
        units = Counter(
            str(row[own])
            for row in cells
            if not is_missing(row.get(own))
            and plain_label(row.get(columns.label))
            and not measure.refusal(row, str(row[columns.label]))
        )
        if len(units) > 1:
            listed = ", ".join(f"{unit} ({count} rows)" for unit, count in units.most_common(6))
            raise DataError(
                f"{entry.source}: column {own!r} of task {entry.task} has the units {listed}; set "
                "unit to nM or the like, which puts all on the scale -log10 mol/l, or keep one unit"
            )
    return measure


def _rescaled(value: float, row: Row, columns: Columns, measure: Measure) -> float:
    """The label on the scale of the task.

    Raises:
        ValueError: it has no logarithm.
        _LeftOut: its unit is none of amount.
    """
    entry = columns.entry
    if entry.unit is not None:
        unit = measure.unit(row.fields, entry.unit)
        if unit is None:
            raise _LeftOut("in a unit that is not of amount")
        try:
            return on_p_scale(value, unit)
        except ValueError as error:
            raise ValueError(f"{columns.label} is {value:g}, {error}") from None
    if entry.scale == "log10":
        if value <= 0:
            raise ValueError(f"{columns.label} is {value:g}; scale log10 needs numbers above 0")
        return math.log10(value)
    return value
