"""Single cases side by side: the same question to every model, and the CSV of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.answers.answer import Answer
from rl4bio.answers.asked import Asked
from rl4bio.answers.open import ANSWERED
from rl4bio.files.delimited import csv_text
from rl4bio.statistics.draws import majority_vote
from rl4bio.text.redaction import number_cell, safe_cell
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class Reply:
    """What one model said to one sample."""

    answer: Answer
    completion: str = ""
    """Empty for a log-probability choice."""
    choices: dict[str, float] = field(default_factory=dict)
    """Label -> log-probability, for a log-probability choice."""
    draws: list[Reply] = field(default_factory=list)
    """The single replies behind a majority vote; `completion` is the first that says the same."""
    raw: dict[str, float] = field(default_factory=dict)
    """What the rewards measure in a molecule, in its own units; NaN = none."""


@dataclass(slots=True, kw_only=True)
class Case:
    """A question with what every model said to it."""

    sample: Sample
    replies: dict[str, Reply]
    """Model name -> reply; the same models in every case."""


def merge_draws(draws: Sequence[Reply]) -> Reply:
    """Several replies to one sample as one: majority verdict, mean length, rewards and grounding.

    Of numbers the median of those that could be read, the lower of two.

    Args:
        draws: at least one, with the same gold label and reward parts.
    """
    answers = [draw.answer for draw in draws]
    strict = majority_vote([answer.strict for answer in answers])
    number = answers[0].number
    read = [a for a in answers if a.number is not None and not math.isnan(a.number.said)]
    if number is not None and read:
        middle = sorted(read, key=_said)[(len(read) - 1) // 2]
        strict, number = middle.strict, dataclasses.replace(number, said=_said(middle))
    merged = Answer(
        gold=answers[0].gold,
        strict=strict,
        lenient=majority_vote([answer.lenient for answer in answers]),
        tokens=_mean([answer.tokens for answer in answers]),
        truncated=_mean([answer.truncated for answer in answers]),
        rewards={part: _mean([a.rewards[part] for a in answers]) for part in answers[0].rewards},
        grounding=_mean([answer.grounding for answer in answers]),
        num_draws=len(draws),
        num_right=sum(answer.right for answer in answers),
        num_parsed=sum(answer.strict is not None for answer in answers),
        positive=answers[0].positive,
        number=number,
        measures={n: _mean([a.measures[n] for a in answers]) for n in answers[0].measures},
    )
    shown = next(draw for draw in draws if draw.answer.strict == strict)
    return Reply(answer=merged, completion=shown.completion, draws=list(draws), raw=shown.raw)


def _said(answer: Answer) -> float:
    return math.nan if answer.number is None else answer.number.said


def _mean(values: Sequence[float]) -> float:
    """Over the values that are not NaN; NaN where all are."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def is_therapeutic(case: Case) -> bool:
    """Whether a case is of a therapeutic task, whose molecules can be drawn."""
    return Asked.of(case.sample).answer_form is not None


def judgement(answer: Answer) -> str:
    """Right, wrong, or no answer; answered where there is no gold label."""
    if answer.strict is None:
        return "no answer"
    if answer.gold is None:
        return ANSWERED
    return "right" if answer.right else "wrong"


def side_by_side_csv(cases: Sequence[Case]) -> str:
    """One line a case: question, gold, then completion, verdict and rewards of each model."""
    first = cases[0].replies if cases else {}
    parts = [part for reply in first.values() for part in reply.answer.rewards]
    parts = list(dict.fromkeys(parts))
    header = ["uid", "question", "context", "gold"]
    for name in first:
        columns = ("verdict", "verdict_lenient", "judgement", "truncated", "completion")
        header += [f"{name}_{column}" for column in columns]
        header += [f"{name}_reward_{part}" for part in parts]
    rows = [[safe_cell(cell) for cell in header]]
    for case in cases:
        sample = case.sample
        row = [sample.uid, sample.question, sample.context, sample.target or ""]
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
        rows.append(cells)
    return csv_text(rows, quote_all=True)
