"""What a completion answers: a label, the letter of an option, or, for open questions, whether.

The strict reader is the one that rewards use, so that accuracy and reward agree. The lenient one is
a benevolent human's, for evaluation alone: the gap between the two is a matter of form.
"""

from __future__ import annotations

from typing import Literal

from rl4bio.answers.bins import lenient_bin, read_bin
from rl4bio.answers.choice import (
    lenient_choice,
    read_choice,
)
from rl4bio.answers.forms import TAGS, Form, answer_of, read_completion
from rl4bio.answers.tags import (
    Parsed,
    has_content,
    last_answer,
    strict_parse,
    strip_terminators,
)
from rl4bio.answers.verdict import lenient_verdict, strict_verdict, verdict_of
from rl4bio.types import Sample


def parse_completion(completion: str, form: Form) -> Parsed | None:
    """Thought and answer of a completion in its form, or None; either pair of tags will do."""
    if form == "tags":
        return strict_parse(completion) or strict_parse(completion, TAGS)
    return read_completion(completion, form)


def strict_answer(completion: str, sample: Sample, kind: Kind, form: Form) -> str | None:
    """The verdict of a completion that keeps its form, or None.

    Args:
        completion: generated text alone.
        sample: with its options, where `kind` is choice.
        kind: what is asked for.
        form: what the prompt asks the completion to look like.

    Returns:
        yes, no or maybe; a letter; the digits of a bin; or ANSWERED for an open question.
    """
    if "answer_form" in sample.extra:
        return _therapeutic_answer(answer_of(completion, sample), sample, kind)
    if kind == "verdict" and form == "tags":
        return strict_verdict(completion)
    if kind == "verdict" and form == "direct":
        return verdict_of(completion)
    parsed = parse_completion(completion, form)
    if parsed is None:
        return None
    if kind == "verdict":
        return verdict_of(parsed.answer)
    return read_choice(parsed.answer, sample.extra["options"]) if kind == "choice" else ANSWERED


def _therapeutic_answer(answer: str | None, sample: Sample, kind: Kind) -> str | None:
    """What the rewards of therapeutic tasks read in an answer."""
    if not answer:
        return None
    if kind == "choice":
        return read_choice(answer, sample.extra["options"])
    if kind == "bin":
        return None if read_bin(answer) is None else answer.strip()
    return ANSWERED if has_content(answer) else None


def lenient_answer(completion: str, sample: Sample, kind: Kind, form: Form) -> str | None:
    """The verdict as a benevolent reader finds it, or None; see `strict_answer`.

    An open question is answered where an answer block has been opened, or none was asked for.
    """
    if kind == "verdict":
        return lenient_verdict(completion)
    if kind == "choice":
        return lenient_choice(completion, sample.extra["options"])
    if kind == "bin":
        return lenient_bin(completion, form)
    answer = last_answer(completion)
    if answer is None and form == "direct":
        answer = strip_terminators(completion)
    return ANSWERED if answer and has_content(answer) else None


Kind = Literal["verdict", "choice", "bin", "open"]
"""What is asked for: yes, no or maybe; the letter of an option; a number, as a bin of its scale; a
text that only rewards judge."""
ANSWERED = "answered"
"""Stands for the verdict of an open answer, which has no label."""
