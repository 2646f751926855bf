"""What one model said to one item."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberAnswer:
    """One item's label and what was said, in the unit of the label."""

    label: float
    said: float
    """NaN where no number could be read."""
    constant: float
    """What counts for an answer that could not be read."""

    @property
    def told(self) -> float:
        """What counts as said."""
        return self.constant if math.isnan(self.said) else self.said

    @property
    def error(self) -> float:
        """Absolute, of what counts as said."""
        return abs(self.told - self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one model said to one item."""

    gold: str | None
    """None for an open question."""
    strict: str | None
    """The verdict by the strict parser; None = no answer."""
    lenient: str | None
    tokens: float = math.nan
    """Length of the completion; NaN where nothing was generated."""
    truncated: float = False
    """Ended by the length limit; of several draws the share that did."""
    rewards: dict[str, float] = field(default_factory=dict)
    """Reward part -> value, and their sum as `total`; NaN = could not be scored."""
    grounding: float = math.nan
    """How far the thought rests on facts of the context; NaN without context or thought."""
    num_draws: int = 0
    """Completions behind a majority vote; 0 = none, the answer is a single one."""
    num_right: int = 0
    """How many of them are right."""
    num_parsed: int = 0
    """How many of them the strict parser reads."""
    positive: str | None = None
    """The positive class of a task with two; None for any other question."""
    log_odds: float = math.nan
    """Of the positive class, ln P / (1 - P) by log-probabilities; NaN where none were taken."""
    number: NumberAnswer | None = None
    """Where the question asks for a number."""
    measures: dict[str, float] = field(default_factory=dict)
    """What else was counted in a generated completion, such as `reasoning_words` and whether there
    is a `self_correction` (0 or 1); of several draws the means."""

    @property
    def right(self) -> bool:
        """Whether the strictly read label is the gold one; never of an open question."""
        return self.gold is not None and self.strict == self.gold

    def agrees(self, verdict: str | None) -> float:
        """1 where a verdict is the gold label, else 0; NaN for an open question."""
        return math.nan if self.gold is None else float(verdict == self.gold)
