"""The text of medical questions: instructions, the forms of a completion, and reading them back.

No instruction shows an example with an answer in it; see `rl4bio.data.instructions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rl4bio.answer_block import TAGS, write_blocks
from rl4bio.tags import Parsed, has_content, strict_parse, strip_terminators

Form = Literal["tags", "think", "direct"]

_SHAPE = {
    "tags": "First reason step by step inside <reasoning>...</reasoning>. Then give {what} inside "
    "<answer>...</answer>.",
    "think": "Begin with /think and reason step by step. Then, on a new line, write /answer and "
    "give {what}.",
    "direct": "Reply with {what} only.",
}
_TASK = {
    "choice": ("Answer the medical question by choosing one option.", "the letter of the option"),
    "short": ("Answer the medical question.", "the answer in a few words"),
    "long": ("Answer the medical question.", "the answer in a few sentences"),
}

THINK_OPENS = "/think "
ANSWER_OPENS = "\n/answer "
BEGINS: Mapping[Form, str] = {
    "tags": f"<{TAGS[0]}>",
    "think": THINK_OPENS.rstrip(),  # tokens take the blank to the word behind it
    "direct": "",
}
"""What a completion in a form begins with."""


def instruction(task: Literal["choice", "short", "long"], form: Form) -> str:
    """The system turn of a task in a form."""
    asks, what = _TASK[task]
    return f"{asks} {_SHAPE[form].format(what=what)}"


def question_text(question: str, options: Mapping[str, str]) -> str:
    """The user turn: the question, then one line an option ("A. Aspirin")."""
    return "\n".join([question, *(f"{letter}. {text}" for letter, text in options.items())])


def write_completion(reasoning: str, answer: str, form: Form) -> str:
    """The completion that a model should write; the direct form has no reasoning."""
    if form == "tags":
        return write_blocks(reasoning, answer)
    if form == "think":
        return f"{THINK_OPENS}{reasoning}{ANSWER_OPENS}{answer}"
    return answer


def read_completion(text: str, form: Form) -> Parsed | None:
    """Reasoning and answer of a well-formed completion, or None where it does not keep the form.

    `/think` is how a published SFT run opens its targets; there the response follows after a
    blank, and nothing tells the two apart afterwards. Here the answer has a line of its own that
    begins with `/answer`, and each of the two marks stands in the text once.
    """
    if form == "tags":
        return strict_parse(text, TAGS)
    text = strip_terminators(text)
    if form == "direct":
        return Parsed("", text.strip()) if has_content(text) else None
    if not text.startswith(THINK_OPENS) or text.count("/think") != 1 or text.count("/answer") != 1:
        return None
    reasoning, mark, answer = text.removeprefix(THINK_OPENS).partition(ANSWER_OPENS)
    parsed = Parsed(reasoning.strip(), answer.strip())
    return parsed if mark and has_content(parsed.thought) and has_content(parsed.answer) else None
