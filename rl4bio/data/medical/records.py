"""Medical questions as records: rows of any known table, checked and made one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rl4bio.answers.choice import AskedChoice
from rl4bio.answers.forms import Form, read_completion, write_completion
from rl4bio.data.medical.columns import LETTERS, Schema, find_label_base, find_schema
from rl4bio.data.medical.prompts import Task
from rl4bio.data.medical.sources import MedicalSource
from rl4bio.data.pubmedqa.records import question_key
from rl4bio.errors import DataError
from rl4bio.files.fields import (
    OPTIONS,
    as_index,
    clean,
    is_missing,
    split_options,
    text_of,
)
from rl4bio.files.rows import BAD_ROWS, Row, raise_problems
from rl4bio.text.redaction import shown
from rl4bio.text.words import plain

log = logging.getLogger("rl4bio")

MAX_SHOWN_PROBLEMS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MedicalItem(AskedChoice):
    """What a sample says of the table that it comes from; an open question has no options."""

    source: str
    source_id: str
    """What the table calls the row; "" where it has no such column."""
    letter: str | None = None
    """Of the right option."""


@dataclass(slots=True, kw_only=True)
class MedicalRecord:
    """One question, open or with options."""

    question: str
    """Without the options; line ends kept, since vignettes hold tables of laboratory values."""
    options: dict[str, str] = field(default_factory=dict)
    """Letter -> text, from A on; empty for an open question."""
    letter: str = ""
    """Of the right option."""
    answer: str = ""
    """The gold answer in a few words, or the right option's text; "" where there is none."""
    reasoning: str = ""
    long_answer: str = ""
    source: str = ""
    source_id: str = ""
    """What the table calls the row; "" where it has no such column."""
    place: str = ""
    """File and line."""

    @property
    def task(self) -> Task:
        """What is asked for."""
        if self.options:
            return "choice"
        return "long" if self.long_answer else "short"

    @property
    def gold(self) -> str:
        """What a demonstration answers: the letter, else the longest gold text there is."""
        return self.letter or self.long_answer or self.answer

    @property
    def uid(self) -> str:
        """m-<hash> of the letters and digits of the question and its options in any order."""
        options = sorted(plain(text) for text in self.options.values())
        return f"m-{question_key(' '.join([self.question, *options]))}"


class _Hidden(Exception):
    """The row's label is not published."""


def read_records(
    rows: Sequence[Row],
    source: MedicalSource,
    *,
    form: Form = "tags",
    bad_rows: Literal["fail", "drop"] = "fail",
) -> list[MedicalRecord]:
    """The records of a source's rows, in their order.

    Args:
        rows: of one table.
        source: where they come from, and how its columns are to be read.
        form: of demonstrations; a reasoning that breaks it (by a tag inside) spoils its row.
        bad_rows: what to do with rows that cannot be used; drop leaves them out and counts them.

    Raises:
        DataError: the columns are unknown, rows cannot be used under "fail" (at most ten, each with
            file, line and column), or no row is left.
    """
    schema = find_schema((str(name) for row in rows for name in row.fields), source)
    base = 0
    if schema.label:
        base = find_label_base([row.fields.get(schema.label) for row in rows], schema, source)
    records: list[MedicalRecord] = []
    problems: list[str] = []
    hidden = 0
    for row in rows:
        try:
            record = _read_row(row, schema, base, source.source)
            _check_form(record, schema, form)
            records.append(record)
        except _Hidden:
            hidden += 1
        except ValueError as error:
            problems.append(f"{row.place}: {error}")
    if hidden:
        log.warning("%s: %d of %d labels are hidden: left out", source.source, hidden, len(rows))
    if problems and bad_rows == "fail":
        raise_problems(problems, advice=BAD_ROWS)
    if problems:
        first = "; ".join(problems[:MAX_SHOWN_PROBLEMS])
        log.warning(
            "%s: %d of %d rows left out: %s", source.source, len(problems), len(rows), first
        )
    if not records:
        reason = "every label is hidden; take another split" if hidden else "no row can be used"
        raise DataError(f"{source.source}: {reason}")
    return records


def _read_row(row: Row, schema: Schema, base: int, source: str) -> MedicalRecord:
    """One record.

    Raises:
        ValueError: the row cannot be used; says column, value and what it needs.
        _Hidden: its label is not published.
    """
    fields = row.fields
    first, *others = schema.question
    parts = [text_of(fields, first), *(text_of(fields, name, empty=True) for name in others)]
    record = MedicalRecord(
        question="\n".join(part for part in parts if part),
        source=source,
        source_id=row.key or _read_id(fields, schema.id),
        place=row.place,
    )
    if schema.kind == "choice":
        label = fields.get(schema.label) if schema.label else None
        if schema.hides_labels and (is_missing(label) or as_index(label) == -1):
            raise _Hidden
        record.options = read_options(fields, schema)
        record.letter = _read_letter(fields, schema, base, record.options)
        record.answer = record.options[record.letter]
    elif schema.answer:
        record.answer = text_of(fields, schema.answer, empty=schema.answer in schema.optional)
    for role in ("reasoning", "long_answer"):
        name = getattr(schema, role)
        if name:
            setattr(record, role, text_of(fields, name, empty=name in schema.optional))
    return record


def _check_form(record: MedicalRecord, schema: Schema, form: Form) -> None:
    """Refuse a reasoning and a gold answer that could not be told apart in a completion."""
    if not record.reasoning:
        return
    parsed = read_completion(write_completion(record.reasoning, record.gold, form), form)
    if parsed is None or (form != "direct" and parsed.thought != record.reasoning):
        raise ValueError(
            f"{schema.reasoning} or the answer has no words, or holds a mark of the form {form!r}"
        )


def _read_id(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return str(value).strip() if isinstance(value, str | int) and not is_missing(value) else ""


def read_options(fields: Mapping[str, Any], schema: Schema) -> dict[str, str]:
    """The options of a row: letter -> text, two to ten, all different.

    Options that are missing at the end are left away (tables give rows with fewer options a null).
    """
    if len(schema.options) > 1:
        name = "/".join(schema.options)
        given: Any = [fields.get(column) for column in schema.options]
    else:
        name = schema.options[0]
        given = split_options(fields.get(name), name)
    if isinstance(given, Mapping):
        given = _in_order(given, name)
    if not isinstance(given, list | tuple):
        raise ValueError(f"{name} is {shown(given)}, needs {OPTIONS}")
    texts = list(given)
    while texts and is_missing(texts[-1]):
        texts.pop()
    if not 2 <= len(texts) <= len(LETTERS):
        raise ValueError(f"{name} has {len(texts)} options, needs 2 to {len(LETTERS)}")
    options = {
        letter: clean(text, f"{name}, option {letter},")
        for letter, text in zip(LETTERS, texts, strict=False)
    }
    seen: dict[str, str] = {}
    for letter, text in options.items():
        other = seen.setdefault(plain(text) or text, letter)
        if other != letter:
            raise ValueError(f"{name}: options {other} and {letter} are the same, {shown(text)}")
    return options


def _in_order(given: Mapping[Any, Any], name: str) -> list[Any]:
    """The texts of a mapping from letters, which must be A, B, C, ... without a gap."""
    by_letter = {str(letter).strip().upper(): text for letter, text in given.items()}
    letters = sorted(by_letter)
    if letters != list(LETTERS[: len(letters)]) or len(by_letter) < len(given):
        raise ValueError(f"{name} has the keys {shown(list(given))}, needs A, B, C, ...")
    return [by_letter[letter] for letter in letters]


def _read_letter(
    fields: Mapping[str, Any], schema: Schema, base: int, options: Mapping[str, str]
) -> str:
    """The right option's letter, from a letter, a number, or the option's text.

    Raises:
        ValueError: there is none, it is out of range, or letter and text contradict each other.
    """
    if schema.label:
        if schema.label not in fields:
            raise ValueError(f"column {schema.label!r} is missing")
        letter = _label_letter(fields[schema.label], schema.label, base, options)
        if schema.answer and not is_missing(fields.get(schema.answer)):
            text = clean(fields[schema.answer], schema.answer)
            if plain(text) != plain(options[letter]):
                raise ValueError(
                    f"{schema.label} is {letter}, which is {shown(options[letter])}, but "
                    f"{schema.answer} is {shown(text)}"
                )
        return letter
    text = text_of(fields, schema.answer)
    if text.upper() in options:
        return text.upper()
    same = [letter for letter, option in options.items() if plain(option) == plain(text)]
    if len(same) != 1:
        raise ValueError(f"{schema.answer} is {shown(text)}, which is no letter and no option")
    return same[0]


def _label_letter(value: Any, name: str, base: int, options: Mapping[str, str]) -> str:
    index = as_index(value)
    if index is not None and 0 <= index - base < len(options):
        return LETTERS[index - base]
    if isinstance(value, str) and value.strip().upper() in options:
        return value.strip().upper()
    last = len(options) - 1
    raise ValueError(
        f"{name} is {shown(value)}, needs a letter from A to {LETTERS[last]} or a number from "
        f"{base} to {base + last}"
    )
