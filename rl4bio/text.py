"""Text that data and rewards both read: chat turns, sentences. No regular expression backtracks."""

from __future__ import annotations

import re

from rl4bio.types import Message

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\[\"'<])")
_ABBREVIATION_ENDS = (" vs.", " e.g.", " i.e.", " et al.", " approx.", " cf.", " no.", " fig.")


def chat(user: str, *, system: str = "") -> list[Message]:
    """A chat prompt of one user turn, with an optional system turn before it."""
    turns = [Message(role="system", content=system)] if system else []
    return [*turns, Message(role="user", content=user)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, stripped, in order; joined by a blank they give its words back.

    A full stop after a common abbreviation or a single capital letter does not end a sentence.
    """
    found: list[str] = []
    for piece in _SENTENCE_END.split(" ".join(text.split())):
        last = found[-1] if found else ""
        initial = len(last) >= 2 and last[-2].isupper() and (len(last) == 2 or last[-3] == " ")
        if found and (last.lower().endswith(_ABBREVIATION_ENDS) or (last[-1:] == "." and initial)):
            found[-1] = f"{last} {piece}"
        elif piece:
            found.append(piece)
    return found
