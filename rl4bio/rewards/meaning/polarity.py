"""Do two texts claim the same? Rules that see a turned conclusion, which similarities do not.

"Zinc shortens colds" and "zinc does not shorten colds" share nearly all words and nearly the whole
embedding. Here each content word of a sentence has a sign: -1 behind an odd number of negations in
its clause, and turned once more by words such as "decrease". Two sentences about the same thing
contradict each other where words that they share, or words in the same place, have opposite signs.
Blind to swapped arms ("A beats B", "B beats A"), to numbers, and to denials in words of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from rl4bio.rewards.meaning.polarity_words import (
    AUXILIARIES,
    CONTRASTS,
    COPULAS,
    DENIALS,
    FAILS,
    NEGATIONS,
    SUBORDINATORS,
    UNTRUE,
    word_polarity,
)
from rl4bio.text.sentences import sentences
from rl4bio.text.words import FUNCTION_WORDS, fold, is_number, tokens

Relation = Literal["silent", "agrees", "doubtful", "contradicts"]

ALIKE = 0.7
"""Share of the shorter sentence's words, in order, that makes two sentences alike."""
ABOUT = 0.5
"""Share of the shorter sentence's words that makes two sentences comparable at all."""
DOUBTFUL = 0.5
"""Agreement of a text whose sentences share claims with the reference, most of other sign."""
MAX_WORDS = 80
MAX_SENTENCES = 100

_CLAUSE_END = re.compile(r"[,;:](?=\s)|[()\[\]\u2013\u2014]|\s-{1,3}\s")
_PURPOSE = re.compile(
    r"\bwhether\b|^\W*(?:\d{1,3}\W+)?to (?:determine|address|assess|answer|evaluate|investigate|"
    r"examine|analy[sz]e|compare|identify|study|see|test)\b|"
    r"\b(?:we|study|research|paper|trial|question) (?:aim|ask|sought|is asking)"
)
_REACH = 5  # words between a negation and the "that" which carries it on


@dataclass(frozen=True, slots=True)
class Unit:
    """One content word of a sentence."""

    key: str
    sign: int
    kind: Literal["other", "degree", "claim"]
    clause: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence that is no question."""

    units: tuple[Unit, ...]
    keys: frozenset[str]
    states_purpose: bool
    """What was asked rather than found ("to determine whether")."""


def agreement(text: str, reference: str) -> float:
    """1 unless the text contradicts the reference: 0 with a sentence like one of the reference and
    turned, 0.5 where more sentences in other words claim the opposite than claim the same."""
    found = [relation(said, reference) for said in statements(text)]
    if "contradicts" in found:
        return 0.0
    return DOUBTFUL if found.count("doubtful") > found.count("agrees") else 1.0


def relation(said: Statement, reference: str) -> Relation:
    """What a statement says to the sentence of the reference that it is nearest to."""
    nearest = max(statements(reference), key=lambda known: _shared(said, known), default=None)
    if nearest is None or _shared(said, nearest) < ABOUT:
        return "silent"
    return _compare(said, nearest)


@lru_cache(maxsize=1024)  # a group of completions shares its reference
def statements(text: str) -> tuple[Statement, ...]:
    """The first 100 sentences of a text with their first 80 content words, without questions."""
    lines = [s for line in text.split("\n") for s in sentences(line) if not s.endswith("?")]
    found = []
    for line in lines[:MAX_SENTENCES]:
        folded = fold(line)
        units = _units(folded)[:MAX_WORDS]
        keys = frozenset(unit.key for unit in units)
        found.append(Statement(tuple(units), keys, bool(_PURPOSE.search(folded))))
    return tuple(found)


def _shared(said: Statement, known: Statement) -> float:
    """Shared keys as a share of the shorter sentence's; 0 where they are too few to compare."""
    shared = len(said.keys & known.keys)
    if shared < min(3, len(known.keys)):
        return 0.0
    return shared / max(1, min(len(said.keys), len(known.keys)))


def _compare(said: Statement, known: Statement) -> Relation:
    matcher = SequenceMatcher(
        None, [u.key for u in said.units], [u.key for u in known.units], autojunk=False
    )
    pairs = [
        (said.units[block.a + step], known.units[block.b + step])
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]
    if len(pairs) < ALIKE * min(len(said.units), len(known.units)):
        return _compare_claims(said, known)
    replaced = [
        (said.units[a], known.units[b])
        for kind, a, a_end, b, b_end in matcher.get_opcodes()
        if kind == "replace" and a_end - a == b_end - b == 1
    ]
    if any(_opposed(a, b) for a, b in pairs + replaced):
        return "contradicts"
    # A negation turns all that follows it. Where the ends of a clause agree, both are negated, if
    # perhaps in another place.
    ends = {a.clause: (a, b) for a, b in pairs}
    covers = len(pairs) >= ALIKE * len(known.units)
    if covers and any(a.sign != b.sign for a, b in ends.values()):
        return "contradicts"
    return _compare_claims(said, known)


def _opposed(a: Unit, b: Unit) -> bool:
    return a.sign != b.sign and "other" not in (a.kind, b.kind)


def _compare_claims(said: Statement, known: Statement) -> Relation:
    """By the claims alone that two sentences share, each with one sign in either."""
    if said.states_purpose or known.states_purpose:
        return "silent"
    ours, theirs = _claims(said.units), _claims(known.units)
    signs = [(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()]
    clear = [a == b for a, b in signs if len(a) == len(b) == 1]
    if not clear:
        return "silent"
    return "agrees" if any(clear) else "doubtful"


def _claims(units: Sequence[Unit]) -> dict[str, set[int]]:
    """Claim -> its signs in a sentence."""
    found: dict[str, set[int]] = {}
    for unit in units:
        if unit.kind == "claim":
            found.setdefault(unit.key, set()).add(unit.sign)
    return found


def _units(sentence: str) -> list[Unit]:
    """The content words of a folded sentence with their signs."""
    reader = _Reader()
    for piece in _CLAUSE_END.split(sentence):
        reader.read(tokens(piece))
    return reader.units


class _Reader:
    """Reads the words of a sentence, clause by clause, and keeps the sign they have there."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.outer = 1
        """The sign that a clause starts with: "it is not true that" holds for all that follow."""
        self.sign = 1
        self.clause = 0

    def read(self, said: Sequence[str]) -> None:
        """The words between two punctuation marks."""
        self._start_clause()
        negated = denied = -_REACH - 1  # where the last word that negates, or denies, stands
        for index, token in enumerate(said):
            before = said[index - 1] if index else ""
            after = said[index + 1] if index + 1 < len(said) else ""
            if token in CONTRASTS:
                self.outer = 1
                self._start_clause()
            elif token in SUBORDINATORS or (token in ("and", "or") and after in AUXILIARIES):
                self._start_clause()
            elif token in ("that", "whether") and index - denied <= _REACH:
                self.outer = self.sign = -self.sign
                denied = -_REACH - 1
            elif token == "that" and index - negated <= _REACH:
                self.outer = self.sign
            elif token == "nor":
                self.sign = -1
            elif _negates(token, before, after):
                self.sign = -1 if before in ("and", "or") else -self.sign
                negated = index
            elif token != "non":
                is_negation = self._add(token, tuple(said[max(0, index - 3) : index]))
                negated = index if is_negation else negated
                if token.startswith(DENIALS) and before not in ("no", "little"):
                    denied = index

    def _start_clause(self) -> None:
        self.sign = self.outer
        self.clause += 1

    def _add(self, token: str, before: tuple[str, ...]) -> bool:
        """Keep a content word; whether it negates what follows."""
        if is_number(token):
            self.units.append(Unit(token, self.sign, "other", self.clause))
            return False
        word = word_polarity(token)
        if word.kind == "other" and token in FUNCTION_WORDS:
            return False
        negates = word.negates != (before[-1:] == ("non",))
        turns = negates and _is_predicate(word.key, before)
        if turns:
            self.sign = -self.sign
        own = -word.sign if negates and not turns else word.sign
        self.units.append(Unit(word.key, self.sign * own, word.kind, self.clause))
        return turns


def _negates(token: str, before: str, after: str) -> bool:
    """Whether a token turns the rest of its clause."""
    if token in ("not", "t") and (after == "only" or before == "or"):  # not only; whether or not
        return False
    if token in ("no", "little") and after == "doubt":
        return False
    return (
        token in NEGATIONS
        or (token == "t" and before.endswith("n"))
        or (token in FAILS and after == "to")
        or (token in UNTRUE and after == "that")
        or (token in ("independent", "independently") and after == "of")
    )


def _is_predicate(key: str, before: Sequence[str]) -> bool:
    """Whether a negating word stands where "not" would: "was unrelated to", not "unsafe sex"."""
    return key in ("sufficien", "present") or not COPULAS.isdisjoint(before)
