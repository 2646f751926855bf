"""Reasoning in completions: how long it is, whether it corrects itself, and going without it.

What evaluation and training count. Neither sign says that the reasoning is any good, only that
there is more of it; whether it helps is the accuracy with it beside the accuracy without it.
"""

from __future__ import annotations

import re

from rl4bio.text.words import fold

_SENTENCE = r"(?:^|[.!?;:(\u2013\u2014]\s{0,4}|\b(?:no|oh|hm+|but|so|and|or|well)\b,?\s{1,2})"
_AGAIN = r"(?:double[- ]?check|re-?check|re-?consider|re-?think|re-?examine|re-?evaluate)"

PHRASES = (
    rf"{_SENTENCE}wait\b\s{{0,2}}(?:$|[,.!?:\u2013\u2014]|(?:no|but|i|that|this|it|actually|maybe)\b)",
    rf"{_SENTENCE}actually\b",
    r"\bon second thoughts?\b",
    r"\b(?:let me|let us|let's|i should|i need to|i must|i will|i'll) (?:just )?"
    rf"(?:{_AGAIN}|check|verify)\b",
    rf"\b{_AGAIN}ing\b",
    r"\b(?:i|we) (?:made|have made|see) (?:a|my|the|an) (?:mistake|error)\b",
    r"\b(?:that|this)(?:'s| is| was| would be| cannot be| can't be) "
    r"(?:wrong|incorrect|not right)\b",
    r"\b(?:i was|i am|i'm) (?:wrong|mistaken)\b",
    r"\bscratch that\b",
    rf"{_SENTENCE}correction\s{{0,2}}[:\u2013\u2014]",
    r"\bhowever,? (?:on reflection|looking (?:again|closer)|i (?:should|must) reconsider)\b",
)
"""Ways of taking back or checking what was said, as patterns of folded text. A bare "however",
"actually" inside a sentence ("is actually toxic") and "wait" as a verb ("patients wait") are none
of them: they contrast or tell, and correct nothing."""

_SELF_CORRECTION = re.compile("|".join(f"(?:{phrase})" for phrase in PHRASES), re.MULTILINE)
_OPENS = re.compile(r"<(reasoning|thought|think)>|^/think\b")
_ENDS = re.compile(r"</(?:reasoning|thought|think)>|<answer>|^/answer\b", re.MULTILINE)
MAX_CHARACTERS = 100_000
"""Of a reasoning that is read."""


def reasoning_of(completion: str) -> str:
    """The part of a completion that reasons, whether or not it keeps its form.

    From the first opening tag, or the start where there is none, up to what closes it, the answer
    block, or the end.
    """
    opened = _OPENS.search(completion)
    start = opened.end() if opened else 0
    ended = _ENDS.search(completion, start)
    return completion[start : ended.start() if ended else len(completion)].strip()


def count_words(text: str) -> int:
    """Words between blanks."""
    return len(text.split())


def corrects_itself(reasoning: str) -> bool:
    """Whether one of `PHRASES` stands in a reasoning."""
    return _SELF_CORRECTION.search(fold(reasoning[:MAX_CHARACTERS])) is not None
