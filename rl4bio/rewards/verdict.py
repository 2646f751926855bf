"""Is the verdict the gold label?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl4bio.rewards.base import Reward
from rl4bio.tags import LABELS, strict_verdict
from rl4bio.types import Sample

MAX_WRONG_CREDIT = 0.2


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
    """1 for the right verdict in the strict form, 0 otherwise; NaN for a sample without target."""

    wrong_credit: float = 0.0
    """For a well-formed wrong label, at most 0.2; a wrong "maybe" never gets it, or answering
    maybe throughout would pay as much as an honest guess."""

    def __post_init__(self) -> None:
        if not 0 <= self.wrong_credit <= MAX_WRONG_CREDIT:
            raise ValueError(
                f"wrong_credit: got {self.wrong_credit}, needs [0, {MAX_WRONG_CREDIT}]"
            )

    def score(self, completion: str, sample: Sample) -> float:
        label = target_label(sample)
        if label is None:
            return math.nan
        verdict = strict_verdict(completion)
        if verdict == label:
            return 1.0
        return self.wrong_credit if verdict in ("yes", "no") else 0.0
