"""Is the verdict the gold label?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl4bio.answers.forms import loose_answer, parse_reply
from rl4bio.answers.tags import THOUGHT_TAGS
from rl4bio.answers.verdict import LABELS, lenient_verdict, verdict_of
from rl4bio.rewards.base import Reward, check_range
from rl4bio.rewards.meaning.denial import denies_label
from rl4bio.types import Sample

MAX_WRONG_CREDIT = 0.2
MAX_LENIENT = 0.3
"""Below a third, what guessing one of three labels in the strict form is worth: a model that is
always right without the form and knows nothing in it still loses by leaving it."""


def target_label(sample: Sample) -> str | None:
    """The gold label of a sample, or None where it has none.

    Raises:
        ValueError: the target is not yes, no or maybe.
    """
    if sample.target is None:
        return None
    label = sample.target.strip().lower()
    if label not in LABELS:
        raise ValueError(f"sample {sample.uid}: target {sample.target!r} is not yes, no or maybe")
    return label


@dataclass(kw_only=True)
class VerdictReward(Reward):
    """1 for the right verdict in the strict form, 0 otherwise; NaN for a sample without target.

    An answer that takes its label back ("yes. It does not lower the risk") is worth nothing.

    A model that does not keep the form yet has nothing to learn from then. `lenient` pays a little
    for the right label where the form is not kept (`loose_verdict`), and always less than for the
    same label in it.
    """

    wrong_credit: float = 0.0
    """For a well-formed wrong label, at most 0.2; a wrong "maybe" never gets it, or answering
    maybe throughout would pay as much as an honest guess."""

    lenient: float = 0.0
    """For the right label without the strict form, at most 0.3; 0 = nothing. Costs nothing to leave
    on: where all completions keep the form it is paid to none."""

    def __post_init__(self) -> None:
        check_range("lenient", self.lenient, MAX_LENIENT)
        check_range("wrong_credit", self.wrong_credit, MAX_WRONG_CREDIT)

    def score(self, completion: str, sample: Sample) -> float:
        label = target_label(sample)
        if label is None:
            return math.nan
        parsed = parse_reply(completion, sample)
        if parsed is None:
            return self.lenient if self.lenient and loose_verdict(completion) == label else 0.0
        verdict = kept_verdict(parsed.answer, sample.question)
        if verdict == label:
            return 1.0
        return self.wrong_credit if verdict in ("yes", "no") else 0.0


def kept_verdict(answer: str, question: str) -> str | None:
    """The label that an answer opens with and does not deny, or None."""
    label = verdict_of(answer)
    return None if label is None or denies_label(answer, label, question) else label


def loose_verdict(completion: str) -> str | None:
    """yes, no or maybe of a completion that does not keep its form, or None. For training.

    It opens the answer (`rl4bio.answers.forms.loose_answer`), and what is said outside the blocks
    names no other label. A label inside the thought is none.
    """
    found = loose_answer(completion, THOUGHT_TAGS)
    if found is None:
        return None
    answer, outside = found
    label = verdict_of(answer)
    return label if lenient_verdict(outside) in (None, label) else None
