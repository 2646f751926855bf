"""Open questions: a text that only rewards judge."""

from __future__ import annotations

from collections.abc import Sequence

from rl4bio.answers.forms import Form
from rl4bio.answers.kind import Kind
from rl4bio.answers.tags import has_content, last_answer, strip_terminators
from rl4bio.types import Sample

ANSWERED = "answered"
"""Stands for the label of an open answer, which has none."""


class Open(Kind):
    """A text; an open question is answered where the form of the prompt is kept."""

    name = "open"
    rank = 3
    vote = "mean"
    has_labels = False
    needs_rewards = True
    reads = "none; parsed: the completion keeps the form of the prompt"

    def read(self, answer: str, sample: Sample) -> str | None:
        return ANSWERED if has_content(answer) else None

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        """Answered where an answer block has been opened, or none was asked for."""
        answer = last_answer(completion)
        if answer is None and form == "direct":
            answer = strip_terminators(completion)
        return ANSWERED if answer and has_content(answer) else None

    def count(self, samples: Sequence[Sample]) -> str:
        return f"{len(samples)} open questions"
