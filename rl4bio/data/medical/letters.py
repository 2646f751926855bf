"""Which letter is right: training questions with their options moved, so that no letter pays."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterable

from rl4bio.data.medical.records import MedicalRecord

_REFERS = re.compile(
    r"(?i:\b(?:above|below|preceding|previous|following|foregoing)\b)"
    r"|(?i:\b(?:all|none|both|neither|any|either|two) of (?:the|these|those|them)\b)"
    r"|(?i:\b(?:options?|choices?|answers?|both|neither|either|only|of))\s+\(?[A-J]\b"
    r"|^\W*\(?[A-J]\)?(?:\s*(?:,|and|or|&|\+)\s*\(?[A-J]\)?)+\W*$"
)
"""An option that speaks of other options, or of where they stand."""


def balance_letters(records: list[MedicalRecord], *, seed: int) -> list[MedicalRecord]:
    """The records with the right option of each changing places with another, so that among
    questions of as many options every letter is right equally often (as nearly as whole numbers
    allow).

    Left as they are, and not counted: open questions, those with a reasoning, which may name
    letters, and those with an option that speaks of other options ("all of the above", "A and C").
    """
    by_letters: dict[tuple[str, ...], list[int]] = {}
    for place, record in enumerate(records):
        if record.options and not record.reasoning and not refers(record.options.values()):
            by_letters.setdefault(tuple(record.options), []).append(place)
    moved = list(records)
    for letters, places in by_letters.items():
        rng = random.Random(f"{seed}/{len(letters)}")
        rounds = -(-len(places) // len(letters))
        wanted = [letter for _ in range(rounds) for letter in rng.sample(letters, len(letters))]
        for place, letter in zip(places, wanted, strict=False):
            moved[place] = _moved(records[place], letter)
    return moved


def refers(options: Iterable[str]) -> bool:
    """Whether one of the options speaks of other options or of their places."""
    return any(_REFERS.search(text) for text in options)


def _moved(record: MedicalRecord, letter: str) -> MedicalRecord:
    options = dict(record.options)
    options[letter], options[record.letter] = options[record.letter], options[letter]
    return dataclasses.replace(record, options=options, letter=letter)
