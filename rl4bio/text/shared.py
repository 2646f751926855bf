"""Where one text repeats another: what a report marks as quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

Span = tuple[int, int]
"""Start and end of a piece of a text, in characters."""

_WORD = re.compile(r"\w+(?:[.,]\d+)*")
SHORTEST = 4
"""Words that make a quotation; shorter runs are chance."""
_MOST_WORDS = 20_000


def shared_spans(text: str, others: Iterable[str], *, shortest: int = SHORTEST) -> list[Span]:
    """The pieces of a text, at least `shortest` words long, that stand in one of the others too.

    Words are compared without case and what is between them; a piece ends where a word of none
    begins.

    Args:
        text: whose pieces are wanted.
        others: in which they are looked for.
        shortest: words of a piece.

    Returns:
        Disjoint spans, rising.
    """
    known = {
        run
        for other in others
        for words in [[word.casefold() for word in _WORD.findall(other)[:_MOST_WORDS]]]
        for run in zip(*(words[k:] for k in range(shortest)), strict=False)
    }
    found = list(_WORD.finditer(text))[:_MOST_WORDS]
    words = [match[0].casefold() for match in found]
    spans: list[Span] = []
    for first in range(len(words) - shortest + 1):
        if tuple(words[first : first + shortest]) not in known:
            continue
        start, end = found[first].start(), found[first + shortest - 1].end()
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
