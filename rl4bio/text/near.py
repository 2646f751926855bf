"""Texts that are (nearly) the same, by their sets of word triples, without comparing all pairs.

Two are near where the Jaccard index of the sets is at least 0.5. On 1,273 MedQA and 1,099 MMLU
questions every pair above 0.5 is one question typed twice, or questions about one quoted passage;
distinct questions that differ in one term reach 0.42. Questions rewritten in other words are not
found: of 198 open questions that were made from ones with options, 5 reach 0.5, and the median is
0.14.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from rl4bio.text.words import fold

WORDS = 3
THRESHOLD = 0.5

# Chinese, Japanese and Korean write no blanks: each character counts as a word.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")

Shingles = frozenset[str]


def shingles(text: str) -> Shingles:
    """The word triples of a text; one or two words are one shingle."""
    words = _WORD.findall(fold(text))
    last = max(1, len(words) - WORDS + 1) if words else 0
    return frozenset(" ".join(words[start : start + WORDS]) for start in range(last))


def jaccard(one: Shingles, other: Shingles) -> float:
    """|one and other| / |one or other|; 0 for two empty sets."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0


class NearIndex:
    """Finds sets of shingles with a Jaccard index of at least THRESHOLD among known ones.

    Exact, by the prefix filter of Chaudhuri et al. (2006): with all sets in one order, two that are
    so near share a member among the first n - ceil(THRESHOLD n) + 1 of each. Members that few known
    sets have come first, so that few sets are compared.
    """

    def __init__(self, known: Iterable[Shingles]) -> None:
        self._sets = list(known)
        self._counts: dict[str, int] = {}
        for members in self._sets:
            for member in members:
                self._counts[member] = self._counts.get(member, 0) + 1
        self._by_member: dict[str, list[int]] = {}
        for number, members in enumerate(self._sets):
            for member in self._prefix(members):
                self._by_member.setdefault(member, []).append(number)

    def near(self, members: Shingles) -> int | None:
        """The number of a known set that is near to this one; None where none is."""
        if self._counts.keys().isdisjoint(members):
            return None
        seen: set[int] = set()
        for member in self._prefix(members):
            for number in self._by_member.get(member, ()):
                if number not in seen and jaccard(members, self._sets[number]) >= THRESHOLD:
                    return number
                seen.add(number)
        return None

    def _prefix(self, members: Shingles) -> list[str]:
        size = len(members) - math.ceil(THRESHOLD * len(members)) + 1
        order = sorted(members, key=lambda member: (self._counts.get(member, 0), member))
        return order[:size] if members else []
