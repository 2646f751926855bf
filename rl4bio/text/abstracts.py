"""What the sentences of an abstract are for: its aim, its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.types import Extra

REACH = 10
"""Words at the start of a sentence that say what it is for."""

_ASK_WORDS = """
    address analyse analyze answer ascertain assess characterise characterize clarify compare define
    describe determine establish estimate evaluate examine explore find identify investigate know
    measure quantify review study test understand validate verify
"""
_ASKS = frozenset(_ASK_WORDS.split())
"""What a study sets out to do, as "to assess whether"."""
_ASKED_WORDS = """
    addressed addresses analysed analyzed asks assessed assesses compared compares describes
    determines determined estimates evaluates evaluated examines examined explores explored
    investigates investigated reviews studied studies tests tested
"""
_ASKED = frozenset(_ASKED_WORDS.split())
"""What a study says of itself, as "this study examined"."""
_AIM_WORDS = "aim aims goal goals objective objectives purpose purposes"
_AIMS = frozenset(_AIM_WORDS.split())
_INTENT_WORDS = """
    aimed aims attempted designed hypothesised hypothesized intended sought undertaken wanted wished
"""
_INTENDS = frozenset(_INTENT_WORDS.split())
_STUDY_WORDS = "analysis article investigation paper project review study trial work"
_STUDY = frozenset(_STUDY_WORDS.split())
_THIS = frozenset(("current", "our", "present", "the", "this"))
_FINDINGS = ("RESULT", "FINDING")
_BEFORE_WORDS = """
    AIM AIMS BACKGROUND CONTEXT GOAL GOALS HYPOTHESES HYPOTHESIS IMPORTANCE INTRODUCTION OBJECTIVE
    OBJECTIVES PURPOSE PURPOSES RATIONALE
"""
_BEFORE = frozenset(_BEFORE_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Abstract(Extra):
    """Of a sample whose context is the abstract of a paper."""

    section_labels: Sequence[str] | None = None
    """Of each line of the context ("METHODS"); None or empty where they are not known."""


def holds_findings(label: str) -> bool:
    """Whether a section of that label ("METHODS AND RESULTS") says what was found."""
    return any(word in label.upper() for word in _FINDINGS)


def comes_before(label: str) -> bool:
    """Whether a section of that label ("BACKGROUND AND AIMS") is of the time before the study."""
    words = set(label.upper().replace("/", " ").replace(",", " ").split())
    return bool(words) and words <= _BEFORE | {"AND", "STUDY", "&", "OF", "THE"}


def states_aim(words: Sequence[str]) -> bool:
    """Whether a sentence says what a study set out to find, which is no evidence of anything.

    "To determine whether ...", "The aim of this study was ...", "We sought to ...", "This study
    examined ...".

    Args:
        words: of the sentence, lower case.
    """
    start = list(words[:REACH])
    if len(start) > 1 and start[0] == "to" and start[1] in _ASKS:
        return True
    for place, word in enumerate(start):
        before, behind = start[max(0, place - 2) : place], words[place + 1 : place + 3]
        if word in _AIMS and (not place or not _THIS.isdisjoint(before)):
            return True
        if word in _INTENDS and ("to" in behind or "that" in behind):
            return True
        if word in _STUDY and not _THIS.isdisjoint(before) and not _ASKED.isdisjoint(behind[:1]):
            return True
    return False
