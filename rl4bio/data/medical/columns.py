"""The columns of medical question sets: which published set a table is, or a user's own map."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rl4bio.data.medical.sources import MedicalSource
from rl4bio.errors import DataError
from rl4bio.files.fields import as_index
from rl4bio.registry import did_you_mean
from rl4bio.text.redaction import shown

LETTERS = string.ascii_uppercase[:10]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What the columns of a table mean; an empty name is a role that the table does not have."""

    name: str
    kind: Literal["open", "choice"]
    question: tuple[str, ...]
    """Joined by a blank; all but the first may be empty."""
    options: tuple[str, ...] = ()
    """One column with all options, or one column an option; trailing ones may be empty."""
    label: str = ""
    """Letter or number of the right option."""
    answer: str = ""
    """The gold answer in a few words, or the right option's text."""
    reasoning: str = ""
    long_answer: str = ""
    id: str = "id"
    optional: tuple[str, ...] = ()
    """Columns that the table may lack, or that may be empty."""
    hides_labels: bool = False
    """Whether rows without a label are published test rows, which are left out and counted."""
    label_base: int | None = None
    """Of numeric labels; None = read off the labels."""

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a table of this schema must have."""
        options = self.options if len(self.options) < 2 else self.options[:2]
        names = (*self.question, *options, self.label, self.answer)
        names += (self.reasoning, self.long_answer)
        return tuple(name for name in names if name and name not in self.optional)


SCHEMAS = (
    Schema(
        name="medical-o1-reasoning-SFT",
        kind="open",
        question=("Question",),
        answer="Ground-True Answer",
        reasoning="Complex_CoT",
        long_answer="Response",
        optional=("Ground-True Answer",),
    ),
    Schema(
        name="medical-o1-verifiable-problem",
        kind="open",
        question=("Open-ended Verifiable Question",),
        answer="Ground-True Answer",
    ),
    Schema(
        name="MedMCQA",
        kind="choice",
        question=("question",),
        options=("opa", "opb", "opc", "opd"),
        label="cop",
        long_answer="exp",
        optional=("cop", "exp"),
        hides_labels=True,
    ),
    Schema(
        name="MedQA (sentences and endings)",
        kind="choice",
        question=("sent1", "sent2"),
        options=("ending0", "ending1", "ending2", "ending3"),
        label="label",
        optional=("sent2",),
        label_base=0,
    ),
    Schema(
        name="MedQA",
        kind="choice",
        question=("question",),
        options=("options",),
        label="answer_idx",
        answer="answer",
        optional=("answer",),
    ),
    Schema(
        name="MMLU",
        kind="choice",
        question=("question",),
        options=("choices",),
        label="answer",
        label_base=0,
    ),
    Schema(
        name="letters",
        kind="choice",
        question=("question",),
        options=("A", "B", "C", "D", "E"),
        label="answer",
    ),
)
"""The published sets, those whose columns are part of another's first."""


def find_schema(columns: Iterable[str], source: MedicalSource) -> Schema:
    """The schema of a table by its column names, or the user's own.

    Args:
        columns: all names of the table.
        source: its `columns` go first; its `kind` decides where a table holds both kinds.

    Raises:
        DataError: the columns are no known set, or the user's map names one that is not there.
    """
    names = list(dict.fromkeys(columns))
    if source.columns:
        return _own_schema(names, source)
    found = [schema for schema in SCHEMAS if set(schema.required) <= set(names)]
    found = found or [own for schema in SCHEMAS if (own := _respelled(schema, names)) is not None]
    wanted = [schema for schema in found if source.kind in ("auto", schema.kind)]
    if wanted:
        return wanted[0]
    if found:
        raise DataError(
            f"{source.source}: kind is {source.kind}, but these are the columns of "
            f"{found[0].name}, which is {found[0].kind}"
        )
    if len(names) == 6 and names[-1].strip().upper() in tuple("ABCD"):
        raise DataError(
            f"{source.source}:1: the first line is a question, not column names; put the line "
            "question,A,B,C,D,answer above it"
        )
    known = "; ".join(f"{schema.name}: {', '.join(schema.required)}" for schema in SCHEMAS)
    hint = next(filter(None, (_nearest(schema, names) for schema in SCHEMAS)), "")
    raise DataError(
        f"{source.source}: the columns {shown(names, 200)} are none of the known sets{hint}; "
        f"known: {known}; map yours with columns: {{question: ..., answer: ...}}"
    )


def _respelled(schema: Schema, names: list[str]) -> Schema | None:
    """The schema with the names as a table spells them: in another case, with blanks for "_"."""
    spelled = {_letters(name): name for name in reversed(names)}
    if any(_letters(name) not in spelled for name in schema.required):
        return None

    def own(name: str) -> str:
        return spelled.get(_letters(name), name) if name else ""

    roles = ("label", "answer", "reasoning", "long_answer", "id")
    spelling: dict[str, Any] = {role: own(getattr(schema, role)) for role in roles}
    return dataclasses.replace(
        schema,
        question=tuple(map(own, schema.question)),
        options=tuple(map(own, schema.options)),
        optional=tuple(map(own, schema.optional)),
        **spelling,
    )


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _nearest(schema: Schema, names: list[str]) -> str:
    """A hint where one column alone is missing from a schema and another looks like it."""
    missing = [name for name in schema.required if name not in names]
    spare = [name for name in names if name not in schema.required]
    if len(missing) != 1 or len(schema.required) < 2:
        return ""
    hint = did_you_mean(missing[0], spare)
    return f" (no column {missing[0]!r}{hint})" if hint else ""


def _own_schema(names: list[str], source: MedicalSource) -> Schema:
    """The schema of a user's map."""
    given = source.columns
    options = given.get("options", [])
    option_columns = tuple(options) if isinstance(options, list) else (options,)
    for name in [*option_columns, *(v for role, v in given.items() if role != "options")]:
        if name not in names:
            raise DataError(
                f"{source.source}: columns names {name!r}, which is no column"
                f"{did_you_mean(name, names)}; it has {shown(names, 200)}"
            )
    roles = {role: given.get(role, "") for role in ("label", "answer", "reasoning", "long_answer")}
    kind: Literal["open", "choice"] = "choice" if option_columns else "open"
    if kind == "choice" and not (roles["label"] or roles["answer"]):
        raise DataError(
            f"{source.source}: columns has options, but neither label nor answer; add one"
        )
    if kind == "open" and not (roles["answer"] or roles["long_answer"]):
        raise DataError(f"{source.source}: columns has neither answer nor long_answer; add one")
    return Schema(
        name="own columns",
        kind=kind,
        question=(given["question"],),
        options=option_columns,
        id=given.get("id", ""),
        optional=(roles["long_answer"],) if kind == "choice" or roles["answer"] else (),
        **roles,
    )


def find_label_base(labels: Iterable[Any], schema: Schema, source: MedicalSource) -> int:
    """Whether numeric labels count options from 0 or from 1.

    The loaded MedMCQA counts from 0 and has -1 where the label is hidden; its card, and the
    authors' files, say 1 to 4. A 0 or a -1 among the labels means 0, a 4 (of four options) means 1.

    Args:
        labels: the label column; what is no number is left aside.
        schema: knows the number of options, where each has its column.
        source: its `label_base` goes first.

    Raises:
        DataError: the labels fit both.
    """
    if source.label_base is not None:
        return source.label_base
    if schema.label_base is not None:
        return schema.label_base
    numbers = {number for label in labels if (number := as_index(label)) is not None}
    if not numbers or min(numbers) <= 0:
        return 0
    if max(numbers) >= len(schema.options) > 1:
        return 1
    raise DataError(
        f"{source.source}: the labels in {schema.label!r} go from {min(numbers)} to "
        f"{max(numbers)}, which fits counting from 0 and from 1; set label_base"
    )
