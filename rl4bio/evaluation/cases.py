"""Single cases side by side: the same question to every model, and the CSV of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.evaluation.answers import Answer
from rl4bio.redaction import number_cell, safe_cell
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class Reply:
    """What one model said to one sample."""

    answer: Answer
    completion: str = ""
    """Empty for a log-probability choice."""
    choices: dict[str, float] = field(default_factory=dict)
    """Label -> log-probability, for a log-probability choice."""


@dataclass(slots=True, kw_only=True)
class Case:
    """A question with what every model said to it."""

    sample: Sample
    replies: dict[str, Reply]
    """Model name -> reply; the same models in every case."""


def judgement(answer: Answer) -> str:
    """Right, wrong, or no answer."""
    if answer.strict is None:
        return "no answer"
    return "right" if answer.right else "wrong"


def side_by_side_csv(cases: Sequence[Case]) -> str:
    """One line a case: question, gold, then completion, verdict and rewards of each model."""
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    first = cases[0].replies if cases else {}
    parts = [part for reply in first.values() for part in reply.answer.rewards]
    parts = list(dict.fromkeys(parts))
    header = ["uid", "question", "context", "gold"]
    for name in first:
        columns = ("verdict", "verdict_lenient", "judgement", "truncated", "completion")
        header += [f"{name}_{column}" for column in columns]
        header += [f"{name}_reward_{part}" for part in parts]
    writer.writerow(safe_cell(cell) for cell in header)
    for case in cases:
        sample = case.sample
        row = [sample.uid, sample.question, sample.context, str(sample.target)]
        cells = [safe_cell(value) for value in row]
        for reply in case.replies.values():
            answer = reply.answer
            cells += [
                answer.strict or "",
                answer.lenient or "",
                judgement(answer),
                "yes" if answer.truncated else "no",
                safe_cell(reply.completion),
            ]
            cells += [number_cell(answer.rewards.get(part, math.nan)) for part in parts]
        writer.writerow(cells)
    return stream.getvalue()
