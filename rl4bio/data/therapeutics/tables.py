"""Tables of therapeutic tasks: where rows come from, and which column holds what."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rl4bio.chem.tables import MISSING, molecule_columns, read_table
from rl4bio.data.synthetic import analogues
from rl4bio.data.therapeutics.prompts import TaskKind, Template
from rl4bio.data.therapeutics.tasks import SplitWay, TherapeuticsTask
from rl4bio.errors import DataError
from rl4bio.files.fields import is_missing
from rl4bio.files.folders import read_one_table
from rl4bio.files.rows import Row, kind_of, read_rows
from rl4bio.registry import did_you_mean
from rl4bio.text.redaction import shown

_ROW_FILES = (".parquet", ".arrow", ".json", ".jsonl")
_TAILS = (" SMILES", " amino acid sequence", " sequence", " description")
_LABELS = ("y", "label")
_ANSWERS: dict[TaskKind, tuple[str, ...]] = {"reactants": ("reactants", "output")}


def read_table_rows(entry: TherapeuticsTask, seed: int) -> list[Row]:
    """The rows of an entry's source under lower-cased column names."""
    source = str(entry.source)
    if source == analogues.SOURCE:
        made = analogues.analogue_rows(task=entry.task, seed=seed)
        return [Row(fields=row, place=f"{source}:{n}") for n, row in enumerate(made, start=1)]
    path = Path(source).expanduser()
    if path.is_dir() or kind_of(path) in _ROW_FILES:
        rows = read_one_table(path) if path.is_dir() else read_rows(path)
    else:
        table = read_table(path, option="data.options.tasks")
        return [
            Row(fields=dict(zip(table.names, cells, strict=True)), place=table.place(number))
            for number, cells in enumerate(table.rows)
        ]
    for row in rows:
        row.fields = {str(name).strip().lower(): value for name, value in row.fields.items()}
    return rows


class Columns:
    """Which column holds what."""

    def __init__(
        self, rows: Sequence[Row], entry: TherapeuticsTask, template: Template, way: SplitWay
    ) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row.fields))
        self.entry, self.template, self.way = entry, template, way
        self.inputs = {
            placeholder: _column(
                names,
                entry.inputs.get(placeholder),
                _candidates(placeholder, template, names),
                f"{{{placeholder}}} (inputs)",
                entry,
            )
            for placeholder in template.placeholders
        }
        answers = (*_ANSWERS.get(template.kind, ()), *_LABELS)
        self.label = ""
        if template.kind != "design" or entry.label is not None:
            self.label = _column(names, entry.label, answers, "the label (label)", entry)
        self.reasoning = ""
        if entry.reasoning is not None:
            self.reasoning = _column(names, entry.reasoning, (), "reasoning", entry)
        self.split = ""
        if way == "given":
            self.split = _column(
                names, entry.split_column, ("split",), "the split (split_column)", entry
            )


def _candidates(placeholder: str, template: Template, columns: Sequence[str]) -> tuple[str, ...]:
    """Names that a column for a placeholder may have, the likeliest first."""
    stems = [placeholder]
    stems += [placeholder.removesuffix(tail) for tail in _TAILS if placeholder.endswith(tail)]
    names = [stem.lower().replace(" ", joint) for stem in stems for joint in (" ", "_")]
    if template.molecules == (placeholder,):
        alike = molecule_columns(columns)
        names += ["smiles", "canonical_smiles", *(alike if len(alike) == 1 else ())]
    if template.kind == "reactants":
        names.append("input")
    return tuple(names)


def _column(
    names: Collection[str],
    named: str | None,
    candidates: Sequence[str],
    what: str,
    entry: TherapeuticsTask,
) -> str:
    """The column that was named, or the first candidate that the table has.

    Raises:
        DataError: there is none.
    """
    wanted = named.strip().lower() if named is not None else ""
    found = wanted if wanted in names else next((n for n in candidates if n in names), "")
    if found and (named is None or found == wanted):
        return found
    hint = did_you_mean(wanted, names) if wanted else ""
    raise DataError(
        f"{entry.source}: task {entry.task} has no column {named or candidates[0]!r} for {what}"
        f"{hint}; its columns: {', '.join(map(str, names))}"
    )


def read_letters(rows: Sequence[Row], column: str, entry: TherapeuticsTask) -> dict[str, str]:
    """label -> letter, over all labels of a table.

    Raises:
        DataError: there are more than two, or none is the positive one.
    """
    found = sorted({plain_label(row.fields.get(column)) for row in rows} - {""})
    positive = plain_label(entry.positive)
    listed = ", ".join(shown(label) for label in found[:6])
    if len(found) > 2 or (found and positive not in found and found != ["0"]):
        raise DataError(
            f"{entry.source}: column {column!r} of task {entry.task} has the labels {listed}; "
            f"needs two, one of them {positive!r} (positive), which is answered by (B)"
        )
    return {label: "B" if label == positive else "A" for label in found}


def plain_label(label: Any) -> str:
    """A label for comparison: 1, 1.0, "1" and True are one; "" where there is none."""
    if is_missing(label) or str(label).strip().lower() in MISSING:
        return ""
    try:
        return f"{float(label):.12g}"
    except (TypeError, ValueError):
        text = str(label).strip().lower()
        return {"true": "1", "false": "0"}.get(text, text)
