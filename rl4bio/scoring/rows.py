"""What the lines of a file of completions answer: questions, molecules or therapeutic tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rl4bio.answers import kinds
from rl4bio.answers.design import Begun
from rl4bio.answers.verdict import LABELS
from rl4bio.chem.attachments import read_points
from rl4bio.errors import DataError
from rl4bio.files.rows import Row, raise_problems, read_rows
from rl4bio.files.text_files import read_text
from rl4bio.text.redaction import cell_text, shown
from rl4bio.types import Sample

KINDS = tuple(name for name, kind in kinds.KINDS.items() if kind.asks)
"""Of therapeutic tasks; a line that names one is read by `therapeutic_sample`."""


def read_completions(
    path: Path, *, molecules: bool = False, skip: bool = False
) -> tuple[list[str | int], list[Sample], list[str], list[str]]:
    """The ids, samples and completions of a file, row by row, and what was wrong with its lines.

    Args:
        path: JSON lines, CSV, or for molecules .smi, as `rl4bio generate` writes them too.
        molecules: rows hold a SMILES, and no question, context or label.
        skip: leave out rows that cannot be used; else they are refused.

    Raises:
        DataError: the file, or all of its rows, or some without `skip`, cannot be used; names file
            and line of each.
    """
    problems: list[str] = []
    rows = _read_file(path, molecules, problems if skip else None)
    therapeutic = any("kind" in row.fields for row in rows)
    ids: list[str | int] = []
    samples: list[Sample] = []
    completions: list[str] = []
    for row in rows:
        try:
            if therapeutic:
                sample, completion = therapeutic_sample(row)
            else:
                sample, completion = molecule_sample(row) if molecules else to_sample(row)
            samples.append(sample)
            ids.append(row.fields["id"])
            completions.append(completion)
        except DataError as error:
            problems.append(str(error))
    if not (skip and samples):
        raise_problems(problems)
    return ids, samples, completions, problems


def _read_file(path: Path, molecules: bool, problems: list[str] | None) -> list[Row]:
    """Rows; those of a table without ids have their numbers."""
    kind = path.suffix.lower()
    if kind == ".smi":
        if not molecules:
            raise DataError(f"{path}: holds molecules, but no configured reward reads any")
        return _read_smi(path)
    rows = read_rows(path, problems)
    if kind != ".csv":
        return rows
    for number, row in enumerate(rows, start=1):  # an empty cell is a field that is not there
        cells = {name.strip().lower(): cell_text(text) for name, text in row.fields.items()}
        row.fields = {k: v for k, v in cells.items() if v or k in ("id", "completion", "smiles")}
        row.fields.setdefault("id", number)
    return rows


def _read_smi(path: Path) -> list[Row]:
    """One SMILES a line, with its name behind it where there is one; an empty line is one too."""
    rows = []
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        smiles, _, name = line.strip().replace("\t", " ").partition(" ")
        fields = {"smiles": smiles, "id": name.strip() or number}
        rows.append(Row(fields=fields, place=f"{path}:{number}"))
    return rows


def to_sample(row: Row) -> tuple[Sample, str]:
    """The sample that a row's completion answers, and the completion.

    Raises:
        DataError: a field is missing, of the wrong type, or no label.
    """
    uid, label = _uid(row), row.fields.get("label")
    if label is not None and label not in LABELS:
        raise DataError(
            f"{row.place}: label is {shown(label)}; expected {', '.join(LABELS)} or null"
        )
    if "prompt" in row.fields:  # as `rl4bio generate` writes it: what it asked stands there
        row.fields = {"question": "", "context": "", **row.fields}
    context = row.fields.get("context")
    sections: list[Any] = context if isinstance(context, list) else [context]
    if not all(isinstance(section, str) for section in sections):
        raise DataError(
            f"{row.place}: context is {_given(row, 'context')}; expected a text or a list of texts"
        )
    known = row.fields.get("long_answer") is not None
    sample = Sample(
        uid=uid,
        prompt="",
        target=label,
        question=_text(row, "question"),
        context=_encodable(row, "context", "\n".join(sections)),
        reference=_text(row, "long_answer") if known else "",
    )
    return sample, _text(row, "completion")


def molecule_sample(row: Row) -> tuple[Sample, str]:
    """A sample with the row's prefix or scaffold, and its completion or its whole SMILES.

    Raises:
        DataError: a field is missing, of the wrong type, or no scaffold with attachment points.
    """
    if "completion" not in row.fields and "smiles" in row.fields:
        return Sample(uid=_uid(row), prompt=""), _text(row, "smiles")
    scaffold = row.fields.get("scaffold")
    if isinstance(scaffold, str) and "*" in scaffold:  # one without may stand in any table
        try:
            begun = Begun(decorate=read_points(scaffold))
        except ValueError as error:
            raise DataError(f"{row.place}: scaffold: {error}") from None
        return Sample(uid=_uid(row), prompt="", extra=begun), _text(row, "completion")
    prefix = _text(row, "prefix") if row.fields.get("prefix") is not None else ""
    return Sample(uid=_uid(row), prompt="", extra=Begun(prefix=prefix)), _text(row, "completion")


def therapeutic_sample(row: Row) -> tuple[Sample, str]:
    """A sample with the fields that rewards of its kind read, and the completion.

    `target` is the letter, the bin or the reactants, null or absent where it is not known;
    `answer_form` is plain where it is absent, and `input` "" (no molecule in the prompt).

    Raises:
        DataError: a field is missing or of the wrong type.
    """
    fields = row.fields
    if fields.get("kind") not in KINDS:
        raise DataError(f"{row.place}: kind is {_given(row, 'kind')}; expected {', '.join(KINDS)}")
    given: dict[str, Any] = {"kind": fields["kind"], "answer_form": "plain", "input": ""}
    for name, (fits, expected) in _THERAPEUTIC.items():
        if fields.get(name) is None:
            continue
        if not fits(fields[name]):
            raise DataError(f"{row.place}: {name} is {_given(row, name)}; expected {expected}")
        given[name] = fields[name]
    target = _text(row, "target") if fields.get("target") is not None else None
    extra = kinds.KINDS[fields["kind"]].asked.taken(given)
    return Sample(uid=_uid(row), prompt="", target=target, extra=extra), _text(row, "completion")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_map(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping) and bool(value) and all(map(fits, value.values()))
    )


def _is_scale(value: Any) -> bool:
    is_pair = _is_map(_is_number)(value) and value.keys() == {"low", "high"}
    return is_pair and value["low"] < value["high"]


_THERAPEUTIC: dict[str, tuple[Callable[[Any], bool], str]] = {
    "task": (_is_text, "a text"),
    "answer_form": (lambda value: value in ("tags", "plain"), "tags or plain"),
    "input": (_is_text, "a SMILES"),
    "options": (_is_map(_is_text), "an object of letters and their texts"),
    "class_share": (_is_map(_is_number), "an object of letters and their shares"),
    "label": (_is_number, "a number"),
    "scale": (_is_scale, "an object of low and high, low below high"),
    "constant": (_is_map(_is_number), "an object such as {mae: 120}"),
}
"""Optional fields of a therapeutic line: what fits, and the words for it."""


def _uid(row: Row) -> str:
    uid = row.fields.get("id")
    if isinstance(uid, bool) or not isinstance(uid, str | int):
        raise DataError(f"{row.place}: id is {_given(row, 'id')}; expected a text or an integer")
    return _encodable(row, "id", str(uid))


def _given(row: Row, name: str) -> str:
    return shown(row.fields[name]) if name in row.fields else "missing"


def _text(row: Row, name: str) -> str:
    value = row.fields.get(name)
    if not isinstance(value, str):
        raise DataError(f"{row.place}: {name} is {_given(row, name)}; expected a text")
    return _encodable(row, name, value)


def _encodable(row: Row, name: str, value: str) -> str:
    """The value; JSON can spell half a surrogate pair, which is no character."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ascii(value[error.start])
        raise DataError(f"{row.place}: {name} holds {half}, half a character") from None
    return value
