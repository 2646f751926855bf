"""Does an answer take its own label back ("yes. It does not lower the risk")?"""

from __future__ import annotations

import re

from rl4bio.rewards.meaning.polarity import Unit, statements
from rl4bio.rewards.meaning.polarity_words import AUXILIARIES, NEGATIONS
from rl4bio.text.words import fold, tokens

SENTENCES = 5
"""Behind the label that are looked at."""
_LABEL = re.compile(r"\b(?:yes|no)\b")
_END = re.compile(r"[.;:!?\n]+")
_PRONOUN_WORDS = "he it one she that there these they this those we"
_PRONOUNS = frozenset(_PRONOUN_WORDS.split())
_FILLER_STARTS = "abstract evid find found paper patient result seem show stud"
_FILLERS = tuple(_FILLER_STARTS.split())
"""Beginnings of words that a sentence may have beside those of the question."""


def denies_label(answer: str, label: str, question: str) -> bool:
    """Whether a sentence behind the label says the opposite of it.

    Only sentences whose content words are all of the question are read: "yes. It does not increase
    complications" to "Is it safe?" is an honest answer, and a limit ("not in women") is none of the
    denial. What is asked in the negative is answered in the negative.

    Args:
        answer: that opens with its label.
        label: yes, no or maybe; of maybe nothing is asked.
        question: that it answers.
    """
    wanted = {"yes": -1, "no": 1}.get(label)
    folded = fold(answer)
    found = _LABEL.search(folded)
    if wanted is None or found is None:
        return False
    behind = _END.split(folded[found.end() :].lstrip(" ,.;:!\"'*_`)]\u2013\u2014-"))
    return any(_stance(sentence, question) == wanted for sentence in behind[:SENTENCES])


def _stance(sentence: str, question: str) -> int:
    """1 where a sentence affirms what is asked, -1 where it denies it, 0 where it is not plain."""
    said = tokens(sentence)
    if not said:
        return 0
    own = [unit for unit in _units(sentence) if not unit.key.startswith(_FILLERS)]
    if not own:
        return _ellipsis(said)
    asked = {unit.key: unit.sign for unit in _units(question.rstrip(" ?"))}
    if not asked.keys() >= {unit.key for unit in own}:
        return 0
    last = own[-1]
    return last.sign * asked[last.key]


def _ellipsis(said: list[str]) -> int:
    """Of "it does not", "they were": a pronoun, an auxiliary, nothing more than a negation."""
    if said[0] not in _PRONOUNS or not any(word in AUXILIARIES for word in said[1:3]):
        return 0
    return -1 if any(word in NEGATIONS or word == "t" for word in said) else 1


def _units(text: str) -> list[Unit]:
    return [unit for statement in statements(text) for unit in statement.units]
