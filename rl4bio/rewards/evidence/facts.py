"""Facts of a context that a thought can cite: numbers with their neighbours, and phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rl4bio.text.abstracts import comes_before, states_aim
from rl4bio.text.sentences import sentences
from rl4bio.text.words import FUNCTION_WORDS, is_number, tokens

Pair = tuple[str, str]

NEIGHBOURS = 3
"""Words on either side that a number is bound to."""

_GENERIC_WORDS = """
    abstract aged aim aimed aims analyses analyzed analysis assess assessed assessment associated
    association average based baseline calculated care case cases characteristics ci clinical cohort
    collected common compare compared comparison conclusion conclusions conducted confidence
    considered consecutive control controls correlation criteria cross data day days defined
    determine determined diagnosed diagnosis difference differences different disease duration
    effect effective effects evaluate evaluated evaluation evidence examined eight factor factors
    female findings five follow following found four general greater group groups high higher
    hospital identified impact important included including increase increased independent index
    indicate indicated indicates information interval investigate investigated level levels
    likelihood likely logistic low lower male mean measured measures median medical method methods
    model month months multivariate n negative nine non normal null number objective observed
    obtained odds one outcome outcomes overall p participants patient patients performed period
    population positive postoperative predict predictor presence present primary prior prospective
    purpose quality questionnaire randomized range rate rates ratio received recorded regression
    related relationship reported respectively respect result results retrospective
    retrospectively review reviewed risk sample score scores second sectional seven sex showed
    shown significance significant significantly similar six size specific statistical
    statistically status strong studied studies study subjects suggest suggested suggests survey
    sd ten test text third three time total treated treatment trial two type underwent use used
    using value values variables weeks whether year years
"""
GENERIC_WORDS = frozenset(_GENERIC_WORDS.split())
"""Words that stand in abstracts of any subject: they make no fact."""

CONVENTIONS = frozenset({"0.05", "0.01", "0.001", "95%", "99%"})
"""Numbers of the statistical ritual: neither a fact nor, where the context has them, an error."""


SHORT = 4
"""Word pairs of a sentence that is hardly one ("Retrospective cohort study.")."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a context."""

    pairs: tuple[Pair, ...]
    """Its neighbouring words, in order."""
    is_evidence: bool
    """Long enough to be quoted, about something, not the question over again, and telling."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a context holds, and what of it goes beyond the question."""

    sentences: tuple[Sentence, ...]
    pairs: frozenset[Pair]
    """Neighbouring words, of every sentence."""
    told: frozenset[tuple[str, ...]]
    """Pairs and triples of neighbouring words, of the telling sentences."""
    vocabulary: frozenset[str]
    """Every token of the context."""
    content: frozenset[str]
    """The vocabulary without function words."""
    new_words: frozenset[str]
    """Words that are special to this context and not in the question."""
    numbers: frozenset[str]
    """Of every sentence."""
    near: dict[str, frozenset[str]]
    """Number -> the words within NEIGHBOURS of it in some telling sentence."""
    question: frozenset[str]


@lru_cache(maxsize=256)
def find_evidence(context: str, question: str, labels: tuple[str, ...] = ()) -> Evidence:
    """The evidence of a context; cached, since a whole group of completions shares it.

    Telling sentences are those that may say what was done and found: neither of a section before
    that, by its label where it is known, nor stating the aim. Where no sentence is left all are.

    Args:
        context: one section a line.
        question: about it.
        labels: of the sections ("RESULTS"), or none.
    """
    sections = context.split("\n")
    titles = labels if len(labels) == len(sections) else ("",) * len(sections)
    lines, telling = [], []
    for title, section in zip(titles, sections, strict=True):
        for line in map(tokens, sentences(section)):
            lines.append(line)
            telling.append(not comes_before(title) and not states_aim(line))
    if not any(telling):
        telling = [True] * len(lines)
    told = [line for line, tells in zip(lines, telling, strict=True) if tells]
    asked = frozenset(tokens(question))
    vocabulary = frozenset(token for line in lines for token in line)
    near: dict[str, set[str]] = {}
    for line in told:
        for index, token in enumerate(line):
            if is_number(token):
                near.setdefault(token, set()).update(_neighbours(line, index))
    plain = FUNCTION_WORDS | GENERIC_WORDS | asked
    return Evidence(
        sentences=tuple(
            _sentence(line, question, tells)
            for line, tells in zip(lines, telling, strict=True)
            if len(line) > 1
        ),
        pairs=frozenset(pair for line in lines for pair in pairwise(line)),
        told=frozenset(
            phrase
            for line in told
            for phrase in (*pairwise(line), *zip(line, line[1:], line[2:], strict=False))
        ),
        vocabulary=vocabulary,
        content=vocabulary - FUNCTION_WORDS,
        new_words=frozenset(w for w in vocabulary - plain if not is_number(w)),
        numbers=frozenset(filter(is_number, vocabulary)),
        near={number: frozenset(words) for number, words in near.items()},
        question=asked,
    )


def _sentence(line: Sequence[str], question: str, tells: bool) -> Sentence:
    pairs = tuple(pairwise(line))
    asked = set(pairwise(tokens(question)))
    is_new = sum(pair in asked for pair in pairs) < 0.6 * len(pairs)
    is_about = any(not is_number(t) and t not in FUNCTION_WORDS | GENERIC_WORDS for t in line)
    return Sentence(pairs, tells and len(pairs) > SHORT and is_new and is_about)


def count_facts(said: Sequence[str], evidence: Evidence) -> int:
    """Distinct facts among the tokens of a thought.

    A token is used once, so that the overlapping phrases of one quote are not many facts.
    """
    facts: set[tuple[str, ...]] = set()
    index = 0
    while index < len(said):
        fact = _fact_at(said, index, evidence)
        if fact:
            facts.add(fact)
        index += len(fact) or 1
    return len(facts)


def count_invented(said: Sequence[str], evidence: Evidence) -> int:
    """Distinct numbers of a thought that neither the context nor the question has."""
    known = evidence.numbers | evidence.question
    return len({token for token in said if is_number(token) and token not in known})


def _fact_at(said: Sequence[str], index: int, evidence: Evidence) -> tuple[str, ...]:
    """The fact that starts at a token, or ()."""
    token = said[index]
    if is_number(token):
        is_free = token in evidence.question or token in CONVENTIONS
        near = evidence.near.get(token, frozenset())
        is_bound = not is_free and not near.isdisjoint(_neighbours(said, index))
        return (token,) if is_bound else ()
    if token in FUNCTION_WORDS:
        return ()
    two, three = tuple(said[index : index + 2]), tuple(said[index : index + 3])
    for phrase in (two, three):
        is_full = phrase[-1] not in FUNCTION_WORDS and not is_number(phrase[-1])
        if is_full and phrase in evidence.told and not evidence.new_words.isdisjoint(phrase):
            return phrase
    return ()


def _neighbours(line: Sequence[str], index: int) -> list[str]:
    """The content words within NEIGHBOURS tokens of a place."""
    around = line[max(0, index - NEIGHBOURS) : index + NEIGHBOURS + 1]
    return [t for t in around if not is_number(t) and t not in FUNCTION_WORDS]
