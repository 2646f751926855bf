"""Does the thought rest on facts of the context? The measures are our own; no paper is followed.

The constants are set on PubMedQA: the experts' long answers and the reasoning of four language
models stay above the bounds, and scrambled, pasted and foreign text stays below.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rl4bio.answers.forms import parse_reply
from rl4bio.rewards.base import Reward
from rl4bio.rewards.evidence.facts import (
    SHORT,
    Evidence,
    Pair,
    Sentence,
    count_facts,
    count_invented,
    find_evidence,
)
from rl4bio.rewards.evidence.prose import ramp, variety
from rl4bio.sections.checks import at_least
from rl4bio.text.abstracts import Abstract
from rl4bio.text.words import prose_factor, tokens
from rl4bio.types import Sample

PHRASES = 0.12  # share of word pairs from the context; experts: 0.24, with a foreign context 0.02
ORDER = (0.15, 0.35)  # shuffled contexts reach 0.21, nine in ten expert answers are above 0.33
VARIETY = (0.4, 0.7)  # distinct word triples; a text said twice has 0.5
VOCABULARY = (0.75, 0.6)  # share of the context's words; one quoted sentence has up to 0.6
QUOTED = 0.55  # share of a sentence's word pairs that makes it quoted
VERBATIM = 0.9  # the same for a sentence quoted in full
FREE_QUOTES = 2
MAX_CHARACTERS = 50_000


@dataclass(kw_only=True)
class GroundingReward(Reward):
    """Facts of the context that the thought cites, in [0, 1]; NaN for a sample without context.

    A fact is a number together with a word that stands beside it in the same sentence of the
    context, or a phrase of two or three words of the context that brings in a word which is neither
    common to all abstracts nor in the question. Background and aim of a study have no facts: a
    section of that label, where the sample knows them, and sentences that begin like one. The value
    is a product, so that no part makes up for another:

        min(1, facts / full_facts)          more than enough earn nothing; a whole quoted sentence
                                            is enough
        facts / (facts + invented numbers)  numbers that neither context nor question has subtract
        phrases                             text that shares no phrase with the context dilutes
        order, prose, variety               no scrambled words, keyword lists or repetition
        no copying                          two quoted sentences are free; max_quoted_sentences, or
                                            max_copied_fraction of the context, are worth nothing

    Only the thought of a strictly formed completion is read, and none above 50,000 characters.
    """

    full_facts: int = 2
    """Facts that pay in full."""
    max_copied_fraction: float = 0.5
    """Share of the context's word pairs in the thought that is worth 0; below 4/5 of it is free."""
    max_quoted_sentences: int = 5
    """Context sentences in the thought that are worth 0; two are free."""

    def __post_init__(self) -> None:
        at_least(1, full_facts=self.full_facts)
        if not 0 < self.max_copied_fraction <= 1:
            raise ValueError(f"max_copied_fraction: got {self.max_copied_fraction}, needs (0, 1]")
        if self.max_quoted_sentences <= FREE_QUOTES:
            raise ValueError(
                f"max_quoted_sentences: got {self.max_quoted_sentences}, "
                f"needs more than {FREE_QUOTES}"
            )

    def score(self, completion: str, sample: Sample) -> float:
        if not sample.context.strip():
            return math.nan
        parsed = parse_reply(completion, sample)
        if parsed is None or len(parsed.thought) > MAX_CHARACTERS:
            return 0.0
        return self.of_thought(parsed.thought, evidence_of(sample))

    def of_thought(self, thought: str, evidence: Evidence) -> float:
        """The value of a thought alone."""
        said = tokens(thought)
        facts = count_facts(said, evidence)
        enough = min(1.0, facts / self.full_facts)
        if facts < self.full_facts and _quotes_evidence(said, evidence):
            facts, enough = max(1, facts), 1.0
        if facts == 0:
            return 0.0
        invented = count_invented(said, evidence)
        is_written = (
            min(1.0, _phrases(said, evidence) / PHRASES)
            * prose_factor(said)
            * ramp(_order(said, evidence), zero=ORDER[0], one=ORDER[1])
            * ramp(variety(said), zero=VARIETY[0], one=VARIETY[1])
        )
        no_copying = self._no_copying(said, evidence)
        return enough * facts / (facts + invented) * is_written * no_copying

    def _no_copying(self, said: Sequence[str], evidence: Evidence) -> float:
        bound = self.max_copied_fraction
        lengths = [len(sentence.pairs) for sentence in evidence.sentences]
        longest = max(lengths, default=0) / max(1, sum(lengths))  # one sentence is always free
        free = max(0.8 * bound, min(0.95 * bound, longest))
        quoted = count_quoted(said, evidence)
        return (
            ramp(copied_fraction(said, evidence), zero=bound, one=free)
            * ramp(quoted, zero=self.max_quoted_sentences, one=FREE_QUOTES)
            * ramp(_vocabulary(said, evidence), zero=VOCABULARY[0], one=VOCABULARY[1])
        )


def evidence_of(sample: Sample) -> Evidence:
    """The evidence of a sample's context, by its sections where they are known."""
    labels = Abstract.of(sample).section_labels or ()
    return find_evidence(sample.context, sample.question, tuple(labels))


def copied_fraction(said: Sequence[str], evidence: Evidence) -> float:
    """Share of the context's word pairs that the thought has, in [0, 1]."""
    given = Counter(pair for sentence in evidence.sentences for pair in sentence.pairs)
    taken = given & Counter(pairwise(said))
    return taken.total() / max(1, given.total())


def count_quoted(said: Sequence[str], evidence: Evidence) -> int:
    """Context sentences of which the thought has most word pairs; of a short one it must have all
    ("Case series.")."""
    taken = set(pairwise(said))
    return sum(
        _taken(sentence, taken) >= (QUOTED if len(sentence.pairs) > SHORT else 1)
        for sentence in evidence.sentences
    )


def _quotes_evidence(said: Sequence[str], evidence: Evidence) -> bool:
    """Whether the thought has (almost) a whole sentence that is evidence."""
    taken = set(pairwise(said))
    return any(s.is_evidence and _taken(s, taken) >= VERBATIM for s in evidence.sentences)


def _taken(sentence: Sentence, taken: set[Pair]) -> float:
    return sum(pair in taken for pair in sentence.pairs) / len(sentence.pairs)


def _phrases(said: Sequence[str], evidence: Evidence) -> float:
    """Share of the thought's word pairs that the context has."""
    pairs = list(pairwise(said))
    return sum(pair in evidence.pairs for pair in pairs) / max(1, len(pairs))


def _order(said: Sequence[str], evidence: Evidence) -> float:
    """Share of the thought's pairs of context words that stand so in the context too."""
    known = [evidence.vocabulary.issuperset(pair) for pair in pairwise(said)]
    kept = [pair in evidence.pairs for pair in pairwise(said)]
    return sum(kept) / max(1, sum(known))


def _vocabulary(said: Sequence[str], evidence: Evidence) -> float:
    """Share of the context's content words that the thought has, in whatever order."""
    return len(evidence.content.intersection(said)) / max(1, len(evidence.content))
