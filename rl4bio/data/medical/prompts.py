"""The text of medical questions: instructions, the forms of a completion, and reading them back.

No instruction shows an example with an answer in it; see `rl4bio.data.pubmedqa.instructions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rl4bio.answers.forms import TAGS, THINK_OPENS, Form

_SHAPE = {
    "tags": "First reason step by step inside <reasoning>...</reasoning>. Then give {what} inside "
    "<answer>...</answer>.",
    "think": "Begin with /think and reason step by step. Then, on a new line, write /answer and "
    "give {what}.",
    "direct": "Reply with {what} only.",
}
Task = Literal["choice", "short", "long"]
"""What is asked for: a letter, a few words, or a few sentences."""
_TASK: Mapping[Task, tuple[str, str]] = {
    "choice": ("Answer the medical question by choosing one option.", "the letter of the option"),
    "short": ("Answer the medical question.", "the answer in a few words"),
    "long": ("Answer the medical question.", "the answer in a few sentences"),
}

BEGINS: Mapping[Form, str] = {
    "tags": f"<{TAGS[0]}>",
    "think": THINK_OPENS.rstrip(),  # tokens take the blank to the word behind it
    "direct": "",
}
"""What a completion in a form begins with."""


def instruction(task: Task, form: Form) -> str:
    """The system turn of a task in a form."""
    asks, what = _TASK[task]
    return f"{asks} {_SHAPE[form].format(what=what)}"


def question_text(question: str, options: Mapping[str, str]) -> str:
    """The user turn: the question, then one line an option ("A. Aspirin")."""
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in options.items())])
