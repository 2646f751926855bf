"""How near the explanation comes to the expert's long answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answers.forms import parse_reply
from rl4bio.answers.verdict import verdict_of
from rl4bio.rewards.base import Reward
from rl4bio.rewards.verdict import target_label
from rl4bio.text.words import prose_factor, tokens
from rl4bio.types import Sample

MAX_WORDS = 2000
"""Words compared; those behind them only count as length."""


def rouge_l(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L F1 = 2 L / (n + m), with L the longest common subsequence (Lin, 2004), in [0, 1].

    L by the bit-vector recurrence of Hyyro (2004): one big-integer step a candidate word.
    """
    if not candidate or not reference:
        return 0.0
    kept = reference[:MAX_WORDS]
    places: dict[str, int] = {}
    for index, word in enumerate(kept):
        places[word] = places.get(word, 0) | 1 << index
    full = (1 << len(kept)) - 1
    column = full
    for word in candidate[:MAX_WORDS]:
        matches = column & places.get(word, 0)
        column = ((column + matches) | (column - matches)) & full
    common = len(kept) - column.bit_count()
    return 2 * common / (len(candidate) + len(reference))


@dataclass(kw_only=True)
class LongAnswerReward(Reward):
    """ROUGE-L between the explanation and `sample.reference`, paid inside a right verdict only.

    The value is clip((s - s0) / (s1 - s0), 0, 1): s is the better similarity of thought and answer
    (a list of keywords has none), s0 that of the restated question, so that restating it earns
    nothing. Word overlap is blind to negation, hence the gate; a weight of at most a quarter of the
    verdict's is advised. NaN for a sample without target or reference.
    """

    full_similarity: float = 0.6
    """s1, the similarity that pays in full; at least half-way from s0 to 1."""

    def __post_init__(self) -> None:
        if not 0 < self.full_similarity <= 1:
            raise ValueError(f"full_similarity: got {self.full_similarity}, needs (0, 1]")

    def score(self, completion: str, sample: Sample) -> float:
        label = target_label(sample)
        reference = tokens(sample.reference)
        if label is None or not reference:
            return math.nan
        parsed = parse_reply(completion, sample)
        if parsed is None or verdict_of(parsed.answer) != label:
            return 0.0
        floor = rouge_l(tokens(sample.question), reference)
        full = max(self.full_similarity, (1 + floor) / 2)
        if floor == 1:
            return 0.0
        parts = tokens(parsed.thought), tokens(parsed.answer)
        similarity = max(rouge_l(part, reference) * prose_factor(part) for part in parts)
        return min(1.0, max(0.0, similarity - floor) / (full - floor))
