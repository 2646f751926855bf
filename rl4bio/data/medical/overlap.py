"""Questions that are (nearly) the same: merged where they are, kept apart between splits.

Two questions are near-duplicates where their sets of word triples have a Jaccard index of at least
0.5. On 1,273 MedQA and 1,099 MMLU questions every pair above 0.5 is one question typed twice, or
questions about one quoted passage; distinct questions that differ in one term reach 0.42. Questions
rewritten in other words are not found: of 198 open questions that were made from ones with options,
5 reach 0.5, and the median is 0.14.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from rl4bio.data.medical.records import MedicalRecord
from rl4bio.text.words import fold, plain

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
        self._sets = [members for members in known if members]
        self._counts: dict[str, int] = {}
        for members in self._sets:
            for member in members:
                self._counts[member] = self._counts.get(member, 0) + 1
        self._by_member: dict[str, list[int]] = {}
        for number, members in enumerate(self._sets):
            for member in self._prefix(members):
                self._by_member.setdefault(member, []).append(number)

    def has_near(self, members: Shingles) -> bool:
        """Whether a known set is near to this one."""
        if not self._sets:
            return False
        seen: set[int] = set()
        for member in self._prefix(members):
            for number in self._by_member.get(member, ()):
                if number not in seen and jaccard(members, self._sets[number]) >= THRESHOLD:
                    return True
                seen.add(number)
        return False

    def _prefix(self, members: Shingles) -> list[str]:
        size = len(members) - math.ceil(THRESHOLD * len(members)) + 1
        order = sorted(members, key=lambda member: (self._counts.get(member, 0), member))
        return order[:size] if members else []


class KnownQuestions:
    """Questions that others must not repeat.

    Two questions with options are compared with their options, so that "Which of these is true?"
    is not one question; an open one with any other by the question alone.
    """

    def __init__(self, records: Sequence[MedicalRecord]) -> None:
        self._open = NearIndex(shingles(r.question) for r in records if not r.options)
        self._choices = [record for record in records if record.options]

    @cached_property
    def _stems(self) -> NearIndex:
        return NearIndex(shingles(record.question) for record in self._choices)

    @cached_property
    def _whole(self) -> NearIndex:
        return NearIndex(_with_options(shingles(r.question), r) for r in self._choices)

    def has(self, record: MedicalRecord) -> bool:
        """Whether a record is nearly one of the known questions."""
        stem = shingles(record.question)
        if self._open.has_near(stem):
            return True
        if record.options:
            return self._whole.has_near(_with_options(stem, record))
        return self._stems.has_near(stem)


def _with_options(stem: Shingles, record: MedicalRecord) -> Shingles:
    """And those of each option by itself, so that the order of options does not matter."""
    return stem.union(*(shingles(text) for text in record.options.values()))


def merge_duplicates(records: Sequence[MedicalRecord]) -> tuple[dict[str, MedicalRecord], int]:
    """One record a question, by uid, the same for any order of the records.

    The record with most of reasoning, short and long answer is kept, and what it lacks is taken
    from its equals: the reasoning set and the set of short answers share their questions. Questions
    with options whose equals call another option right are left out.

    Returns:
        uid -> record, and how many questions contradicted themselves.
    """
    groups: dict[str, list[MedicalRecord]] = {}
    for record in records:
        groups.setdefault(record.uid, []).append(record)
    merged: dict[str, MedicalRecord] = {}
    contradictions = 0
    for uid, group in groups.items():
        if group[0].options and len({plain(record.answer) for record in group}) > 1:
            contradictions += 1
            continue
        group.sort(key=_richness)
        best = group[0]
        for other in group[1:]:
            if other.options == best.options:  # a text may name its own letters
                best.answer = best.answer or other.answer
                best.reasoning = best.reasoning or other.reasoning
                best.long_answer = best.long_answer or other.long_answer
        merged[uid] = best
    return merged, contradictions


def _richness(record: MedicalRecord) -> tuple[object, ...]:
    texts = (record.reasoning, record.long_answer, record.answer)
    options = tuple(record.options.values())
    where = (record.source, record.source_id, record.place)
    return (*(not text for text in texts), *texts, options, record.question, *where)
