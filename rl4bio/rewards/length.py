"""Is the thought of a reasonable length?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rl4bio.answers.forms import parse_reply
from rl4bio.answers.verdict import verdict_of
from rl4bio.rewards.base import Reward, check_range
from rl4bio.rewards.verdict import target_label
from rl4bio.text.words import tokens
from rl4bio.types import Sample


@dataclass(kw_only=True)
class LengthReward(Reward):
    """1 for a thought of min_words to max_words words, falling linearly to 0 outside.

    Length earns nothing by itself: it multiplies what a completion has reached (`within`), so no
    text is worth writing for its length alone. Give it a small weight.
    """

    min_words: int = 10
    max_words: int = 150
    falloff: float = 0.5
    """Width of the slopes as a fraction of each bound: 0 below min_words * (1 - falloff) and above
    max_words * (1 + falloff); 0 = a hard edge."""
    within: Literal["verdict", "structure"] = "verdict"
    """Pays inside a right verdict (NaN without target), or in any strictly formed completion."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_words <= self.max_words or self.max_words < 1:
            raise ValueError(
                f"min_words, max_words: got {self.min_words}, {self.max_words}; "
                "needs 0 <= min_words <= max_words, and max_words at least 1"
            )
        check_range("falloff", self.falloff, 1)

    def score(self, completion: str, sample: Sample) -> float:
        label = target_label(sample) if self.within == "verdict" else None
        if self.within == "verdict" and label is None:
            return math.nan
        parsed = parse_reply(completion, sample)
        if parsed is None or (label is not None and verdict_of(parsed.answer) != label):
            return 0.0
        return self.of_count(len(tokens(parsed.thought)))

    def of_count(self, num_words: int) -> float:
        """The value of a length alone, in [0, 1]."""
        if self.min_words <= num_words <= self.max_words:
            return 1.0
        bound = self.min_words if num_words < self.min_words else self.max_words
        slope = bound * self.falloff
        outside = abs(num_words - bound)
        return max(0.0, 1 - outside / slope) if slope > 0 else 0.0
