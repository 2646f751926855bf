"""English words that carry the direction of a claim, for `polarity`.

Set on the long answers of PubMedQA. Words on one side of a line mean the same to the comparison; a
star ends a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

CONTRARIES = """
different differ differs differed differen* dissimilar* discrepan* distinguish* / similar* same identical* equal* equivalen* comparabl* alike
present presence exist* / absent absence
useful usefulness usable utility helpful valuable / useless worthless
associat* related relation relations relationship* correlat* link links linked
effect effects effectiv* efficac* impact* influenc* affect*
necessar* need needs needed requir* mandatory
possib* feasib*
safe safely safety
success* succe*
likely likelihood
sufficien* adequa*
appropriate* suitab* proper*
significan* signific*
predict* prognos*
caus* lead leads led
account accounts accounted explain*
contribut*
evidence
complication*
true correct*
accurate* accuracy precis*
reliab*
important* importan* relevan* essential*
able available aware clear clearly certain* complete* consistent* convinc* desirab* detect*
expected favorabl* favourabl* frequent* changed altered known justif* normal* practical* proven
realistic* reasonabl* reproduc* responsive satisf* sensitiv* specific* stable sure usual* valid*
warranted worthwhile acceptab* advisable compatib* controlled common commonly viable limited
"""  # noqa: E501
"""A word and what negates it: "unrelated" says "not related". On the lines without a slash, and on
the left of one, un-, in-, im-, ir-, il-, ab-, non- and dis-
negate; the last lines are words of their
own."""

DIRECTIONS = """
increas* rise rises rising risen rose raise raises raised elevat* augment* upregulat* / decreas* reduc* declin* diminish* drop drops dropped fall falls falling fell attenuat* downregulat* lessen* lowered lowering lowers halv*
improv* ameliorat* better best enhanc* / worse worsen* worst deteriorat* aggravat* exacerbat* impair*
superior* outperform* / inferior* underperform*
benefi* advantag* protect* / harm* detriment* disadvantag* hazard* deleterious danger*
support* confirm* corroborat* / contradict* refut* disprov*
recommend* advis* encourag* / discourag*
accept* / reject*
accelerat* promot* facilitat* / inhibit* prevent* suppress* hinder*
positiv* / negativ*
promis* encouraging / disappoint*
benign / malignan*
"""  # noqa: E501
"""Opposite directions; the one is not the absence of the other."""

DEGREES = """
high higher highest great greater greatest large larger largest / low lower lowest small smaller smallest lesser
more most / less fewer least
many often majority always / few rare* seldom minority occasional*
long longer prolong* lengthen* / short shorter shorten*
good excellent well / poor poorer poorly bad
major / minor
protective / risk
early earlier / late later delay*
fast* rapid* quick* / slow*
easy easily simple simpler / difficult* hard complex
strong* / weak* slight*
includ* / exclud*
"""  # noqa: E501
"""Opposites that stand in many sentences beside the claim; compared where sentences are alike."""

_NEGATIONS = """
    not no never neither none without cannot nothing nobody hardly barely scarcely unable lack lacks
    lacked lacking little
"""
_COPULAS = """
    is are was were be been being isn aren wasn weren seem seems seemed appear appears appeared
    remain remains remained prove proved become became
"""
_AUXILIARIES = """
    is are was were be been being has have had did does do can could may might should will would
    isn aren wasn weren hasn haven hadn didn doesn don couldn shouldn wouldn won
"""
_SUBORDINATORS = "although though while except because since despite unless"
NEGATIONS = frozenset(_NEGATIONS.split())
"""Turn the rest of their clause, as the n't of a contraction does."""
COPULAS = frozenset(_COPULAS.split())
AUXILIARIES = frozenset(_AUXILIARIES.split())
CONTRASTS = frozenset({"but", "however", "whereas", "yet", "nevertheless"})
"""Begin a clause, and end what "it is not true that" denies."""
SUBORDINATORS = frozenset(_SUBORDINATORS.split())
"""Begin a clause."""
UNTRUE = frozenset({"false", "untrue", "incorrect"})
"""Negate before "that"."""
FAILS = frozenset({"fail", "fails", "failed", "failing"})
"""Negate before "to"."""
DENIALS = ("doubt", "deny", "denie", "reject", "contradict", "disprov", "refut", "wrong", "mistake")
"""Beginnings of words that negate what "that" or "whether" brings."""

_PREFIXES = ("un", "in", "im", "ir", "il", "ab", "non", "dis")
_MIN_STEM = 4
_MAX_WORD = 40
_ENDING = re.compile(
    r"(?:ization|ations?|ingly|edly|ings?|ies|ied|ions?|ments?|ness|ances?|ences?|ity|ed|es|ly|"
    r"ively|ive|al|able|s|e|y)$"
)


Kind = Literal["other", "degree", "claim"]


class Word(NamedTuple):
    """What a word says about the direction of its sentence."""

    key: str
    """The same for words of one meaning, opposites included; a rough stem for other words."""
    sign: int = 1
    """-1 on the right of a line of DIRECTIONS or DEGREES."""
    negates: bool = False
    """As "not" and the word's positive form would."""
    kind: Kind = "other"


def _entries() -> Iterator[tuple[str, Word]]:
    """Each word of the tables, with its star, and what it says."""
    tables: list[tuple[str, Kind]] = [
        (CONTRARIES, "claim"),
        (DIRECTIONS, "claim"),
        (DEGREES, "degree"),
    ]
    for table, kind in tables:
        lines = table.strip().splitlines()
        for number, line in enumerate(lines):
            left, _, right = line.partition("/")
            shared = left.split()[0].rstrip("*")
            are_singles = table is CONTRARIES and number >= len(lines) - 4
            for entry in left.split():
                yield entry, Word(entry.rstrip("*") if are_singles else shared, kind=kind)
            for entry in right.split():
                is_contrary = table is CONTRARIES
                yield entry, Word(shared, 1 if is_contrary else -1, is_contrary, kind)


_WHOLE = {entry: word for entry, word in _entries() if not entry.endswith("*")}
_STARTS = {entry[:-1]: word for entry, word in _entries() if entry.endswith("*")}
_LENGTHS = sorted({len(start) for start in _STARTS}, reverse=True)


@lru_cache(maxsize=8192)
def word_polarity(token: str) -> Word:
    """What a token of `words.tokens` says; the key of one outside the tables is its stem."""
    token = token[:_MAX_WORD]
    found = _listed(token)
    if found:
        return found
    for prefix in _PREFIXES:
        rest = token.removeprefix(prefix)
        positive = _listed(rest) if rest != token else None
        if positive:
            return positive._replace(negates=not positive.negates)
    return Word(_stem(token))


def _listed(token: str) -> Word | None:
    if token in _WHOLE:
        return _WHOLE[token]
    starts = (token[:length] for length in _LENGTHS if length <= len(token))
    return next((_STARTS[start] for start in starts if start in _STARTS), None)


def _stem(token: str) -> str:
    if len(token) <= _MIN_STEM:
        return token
    stem = _ENDING.sub("", token)
    return stem if len(stem) >= _MIN_STEM else token
