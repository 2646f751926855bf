"""PubMedQA records: three published shapes made into one, and the ids of the official test half.

Shapes: the authors' `ori_pqal.json` (QUESTION, CONTEXTS, ...), the Hub's `qiaojin/PubMedQA`
(pubid, question, context = {contexts, labels, ...}, ...) and the bigbio exports (`*_source` has the
authors' columns without an id; `*_bigbio_qa` has document_id, context as one text, answer as list).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from rl4bio.answers.verdict import LABELS
from rl4bio.files.cells import NO_VALUE, as_text, checked_text, spelled_out
from rl4bio.files.rows import Row, raise_problems
from rl4bio.text.abstracts import Abstract
from rl4bio.text.redaction import shown

_FLOAT_ID = re.compile(r"^(\d+)\.0$")
"""An id as tables write it that hold a column of ids with gaps as numbers."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One question with its abstract (conclusion left out)."""

    pmid: str
    """PubMed id; q-<hash of the question> where the file has no id."""
    question: str
    contexts: list[str]
    """Sections of the abstract, white space collapsed."""
    section_labels: list[str]
    """As long as contexts, or empty where the file has none."""
    label: str
    long_answer: str
    """The abstract's conclusion; empty where the file has none."""
    year: str | None
    annotations: dict[str, str]
    """The two annotators' labels, where the file has them: by name as in `PubMedQAItem`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PubMedQAItem(Abstract):
    """What a sample of PubMedQA says beyond question, abstract and label."""

    prompt_form: Literal["direct"] | None = None
    """As `rl4bio.answers.asked.Asked.prompt_form`."""
    official_test: bool
    """Whether the item is of the published test half."""
    year: str | None = None
    reasoning_required_pred: str | None = None
    """The label of the annotator who saw the conclusion."""
    reasoning_free_pred: str | None = None
    """The label of the annotator who did not."""


def question_key(question: str) -> str:
    """16 hex digits that only the letters and digits of a question decide."""
    plain = "".join(c for c in question.lower() if c.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


@functools.cache
def official_test_pmids() -> frozenset[str]:
    """The 500 PubMed ids of the official test half (Jin et al., 2019, arXiv:1909.06146)."""
    return frozenset(_asset("test_pmids.txt").split())


@functools.cache
def _test_pmid_by_question() -> Mapping[str, str]:
    words = _asset("test_questions.txt").split()
    return dict(zip(words[1::2], words[0::2], strict=True))


def _asset(name: str) -> str:
    folder = resources.files("rl4bio") / "assets" / "pubmedqa"
    return (folder / name).read_text(encoding="utf-8")


def is_official_test(record: Record) -> bool:
    """Whether a record belongs to the test half, by its id or (copies without ids) its question."""
    known = question_key(record.question) in _test_pmid_by_question()
    return record.pmid in official_test_pmids() or known


def read_records(rows: Sequence[Row]) -> list[Record]:
    """Normalise rows of any of the three shapes.

    Raises:
        DataError: a row lacks a column, its label is none of yes, no, maybe exactly, a text is
            empty or damaged, or an id appears twice; at most ten messages, each with its place.
    """
    records: list[Record] = []
    problems: list[str] = []
    places: dict[str, str] = {}
    for row in rows:
        try:
            record = _read_record(row)
        except ValueError as error:
            name = row.key or _first_id(row.fields)
            problems.append(f"{row.place} ({name}): {error}" if name else f"{row.place}: {error}")
            continue
        if record.pmid in places:
            first = places[record.pmid]
            problems.append(f"{row.place} ({record.pmid}): this id appears already at {first}")
            continue
        places[record.pmid] = row.place
        records.append(record)
    raise_problems(problems)
    return records


def _read_record(row: Row) -> Record:
    lower = {_column(name): value for name, value in row.fields.items()}
    needs = "a text, a list of texts or an object of them"
    nested = spelled_out(lower.get("context"), "context", needs=needs)
    inner = dict(nested) if isinstance(nested, Mapping) else {}
    question = _text(lower, "question")
    if inner or "contexts" not in lower:
        contexts = _texts(inner.get("contexts", nested), "context")
        labels = spelled_out(inner.get("labels"), "labels")
    else:
        contexts = _texts(lower["contexts"], "CONTEXTS")
        labels = spelled_out(lower.get("labels"), "LABELS")
    if labels not in (None, "") and not isinstance(labels, list | tuple):
        raise ValueError(f"labels is {shown(labels)}, needs a list of texts")
    section_labels = [str(label) for label in labels or []]
    if section_labels and len(section_labels) != len(contexts):
        raise ValueError(f"{len(contexts)} contexts but {len(section_labels)} section labels")
    year = lower.get("year")
    return Record(
        pmid=row.key or _first_id(row.fields) or _id_by_question(question),
        question=question,
        contexts=contexts,
        section_labels=section_labels,
        label=_label(lower),
        long_answer=_text(lower, "long_answer") if "long_answer" in lower else "",
        year=None if year in (None, "") else str(year),
        annotations=_annotations({**inner, **lower}),
    )


def _first_id(fields: Mapping[str, Any]) -> str:
    for name in ("pubid", "pmid", "document_id", "question_id", "id"):
        value = fields.get(name)
        if isinstance(value, float) and value.is_integer():  # a table with a gap in the column
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value.strip():
            return _FLOAT_ID.sub(r"\1", value.strip())
    return ""


def _id_by_question(question: str) -> str:
    key = question_key(question)
    return _test_pmid_by_question().get(key, f"q-{key}")


def _column(name: Any) -> str:
    """A column's name as the rows here are read by it; `context.labels` is of a flattened table."""
    words = "_".join(str(name).strip().lower().split())
    return words.removeprefix("context.")


def _text(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise ValueError(f"column {name!r} is missing; the row has {shown(sorted(fields), 200)}")
    return _clean(fields[name], name)


def _clean(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, needs text")
    text = " ".join(as_text(value, name).split())
    if not text:
        raise ValueError(f"{name} is empty")
    if text.lower() in NO_VALUE:
        raise ValueError(f"{name} is empty ({shown(value)}), needs text")
    return checked_text(text, name)


def _texts(value: Any, name: str) -> list[str]:
    if value is None:
        raise ValueError(f"column {name!r} is missing or null")
    value = spelled_out(value, name, needs="a text or a list of texts")
    sections = [value] if isinstance(value, str) else value
    if not isinstance(sections, list | tuple) or not sections:
        raise ValueError(f"{name} is {shown(value)}, needs a text or a list of texts")
    return [_clean(section, name) for section in sections]


def _label(fields: Mapping[str, Any]) -> str:
    name = "final_decision" if "final_decision" in fields else "answer"
    if name not in fields:
        raise ValueError(
            f"column 'final_decision' is missing; the row has {shown(sorted(fields), 200)}"
        )
    value = spelled_out(fields[name], name)
    if name == "answer" and isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value not in LABELS:
        raise ValueError(f"{name} is {shown(value)}, needs exactly yes, no or maybe")
    return str(value)


def _annotations(fields: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("reasoning_required_pred", "reasoning_free_pred"):
        value = spelled_out(fields.get(name), name)
        if isinstance(value, list):  # the Hub's copy has ["y", "e", "s"]
            value = "".join(str(letter) for letter in value)
        if value in (None, ""):
            continue
        if value not in LABELS:
            raise ValueError(f"{name} is {shown(value)}, needs exactly yes, no or maybe")
        found[name] = str(value)
    return found
