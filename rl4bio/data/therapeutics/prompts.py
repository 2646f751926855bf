"""Prompt templates of therapeutic tasks: read, checked and filled, literally and in one pass.

A template has the lines of TxGemma's (Wang et al., 2025, arXiv:2504.06196): `Instructions:`,
`Context:`, `Question:`, options where there are any, one line an input, and `Answer:` at the end.
Google's own texts are no part of this package: name the `tdc_prompts.json` of a model folder, or
take the texts that ship here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rl4bio.answers.forms import TAGS, write_blocks
from rl4bio.answers.kinds import KINDS
from rl4bio.answers.tags import strict_parse
from rl4bio.errors import DataError
from rl4bio.files.text_files import read_text
from rl4bio.registry import did_you_mean
from rl4bio.text.redaction import shown

TaskKind = Literal["option", "bin", "reactants", "design"]
Form = Literal["tags", "predict", "direct"]

FILE_NAME = "tdc_prompts.json"
"""What the file is called in the folder of a TxGemma model."""
ANSWER_LINE = "\nAnswer:"

_PLACEHOLDER = re.compile(r"\{([A-Za-z][\w \-]*)\}", re.ASCII)
_UNCLOSED = re.compile(r"\{[A-Za-z][\w \-]*$", re.ASCII | re.MULTILINE)
_OPTIONS = re.compile(r"^\(A\) (\S.*?) \(B\) (\S.*)$", re.MULTILINE)
_SCALE = re.compile(r"\b000\b.*\b1000\b", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The prompt of a task, with places for its inputs."""

    task: str
    text: str
    kind: TaskKind
    placeholders: tuple[str, ...]
    """Each once, in the order of the text."""
    options: dict[str, str] = field(default_factory=dict)
    """Letter -> text; empty unless the kind is option."""

    @property
    def molecules(self) -> tuple[str, ...]:
        """The placeholders that a SMILES fills."""
        return tuple(name for name in self.placeholders if name.endswith("SMILES"))

    def fill(self, inputs: Mapping[str, str]) -> str:
        """The prompt; what an input says is never read as a placeholder.

        Raises:
            ValueError: an input is missing, empty, more than a line, or not asked for.
        """
        for name in inputs:
            if name not in self.placeholders:
                hint = did_you_mean(name, self.placeholders)
                raise ValueError(f"{self.task}: the template has no {{{name}}}{hint}")
        for name in self.placeholders:
            value = inputs.get(name, "")
            if not value.strip():
                raise ValueError(f"{self.task}: nothing to fill {{{name}}} with")
            if "\n" in value or "\r" in value:
                raise ValueError(f"{self.task}: {name} is more than one line, {shown(value)}")
        return _PLACEHOLDER.sub(lambda found: inputs[found[1]], self.text)


def parse_template(task: str, text: str) -> Template:
    """A template and what its words say of the task.

    A line `(A) ... (B) ...` makes it a task of two options, a question that names 000 and 1000 one
    of bins, a single `{Product SMILES}` one of reactants, and none of these one of design.

    Raises:
        ValueError: it is empty, has more than two options, or a brace that does not close.
    """
    if not text.strip():
        raise ValueError(f"{task}: the template is empty")
    if stray := _UNCLOSED.search(text):
        raise ValueError(f"{task}: the template's {shown(stray[0])} has no closing brace")
    placeholders = tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))
    found = _OPTIONS.findall(text)
    asked = text[text.find("Question:") :] if "Question:" in text else text
    kind: TaskKind = "design"
    options: dict[str, str] = {}
    if found:
        first, second = found[0]
        if len(found) > 1 or "(C) " in second or "(B) " in second:
            raise ValueError(f"{task}: needs one line with two options, (A) ... (B) ...")
        kind, options = "option", {"A": first.strip(), "B": second.strip()}
    elif _SCALE.search(asked):
        kind = "bin"
    elif placeholders == ("Product SMILES",):
        kind = "reactants"
    return Template(task=task, text=text, kind=kind, placeholders=placeholders, options=options)


def read_templates(path: Path) -> dict[str, str]:
    """task -> template text, of a JSON file or of the folder of a model that holds one.

    Raises:
        DataError: there is no such file, or it is no flat object of texts.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"{file.absolute()}: no such file; name a {FILE_NAME} or the folder of a TxGemma "
            "model in data.options.prompts, or leave it out for the texts of this package"
        )
    text = read_text(file, option="data.options.prompts")
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}: {error.msg}; fetch the file again") from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{file}: {error}") from None
    if not isinstance(found, dict) or not found:
        raise DataError(f"{file}: holds {shown(found)}, needs an object of task: template")
    for task, template in found.items():
        if not isinstance(template, str):
            raise DataError(f"{file}: {shown(task)} is {shown(template)}, needs a text")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} is there twice; keep one of them")
    return dict(pairs)


@functools.cache
def own_templates() -> dict[str, str]:
    """task -> template text, of the texts that ship with the package."""
    file = resources.files("rl4bio") / "assets" / "therapeutics" / "prompts.json"
    found: dict[str, str] = json.loads(file.read_text("utf-8"))
    return found


def as_asked(prompt: str, kind: TaskKind, form: Form) -> str:
    """The text that a model is shown of a filled template.

    `predict` and `direct` show it as it is. `tags` takes the last line away, which would ask for
    the answer at once, and asks for the reasoning before it; no answer stands there as an example.
    """
    if form != "tags":
        return prompt
    return (
        f"{prompt.rstrip().removesuffix(ANSWER_LINE)}\n"
        "First reason step by step inside <reasoning>...</reasoning>. Then write "
        f"{KINDS[kind].asks} inside <answer>...</answer>."
    )


def demonstrate(answer: str, form: Form, *, reasoning: str = "") -> str:
    """The completion to imitate; "" where the form asks for a reasoning and there is none.

    Behind `Answer:` stands a blank, as TxGemma was trained.

    Raises:
        ValueError: reasoning or answer break the form `tags`.
    """
    if form == "direct":
        return answer
    if form == "predict":
        return f" {answer}"
    if not reasoning:
        return ""
    text = write_blocks(reasoning, answer)
    parsed = strict_parse(text, TAGS)
    if parsed is None or parsed.thought != reasoning or parsed.answer != answer:
        raise ValueError("the reasoning has no words, or holds a tag of the form tags")
    return text
