"""Questions that are (nearly) the same: merged where they are, kept apart between splits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from rl4bio.data.medical.records import MedicalRecord
from rl4bio.text.near import NearIndex, Shingles, shingles
from rl4bio.text.words import plain


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
        if self._open.near(stem) is not None:
            return True
        if record.options:
            return self._whole.near(_with_options(stem, record)) is not None
        return self._stems.near(stem) is not None


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
