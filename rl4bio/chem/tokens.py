"""MolGPT's SMILES tokens: one regular expression, read strictly."""

from __future__ import annotations

import re
from collections.abc import Iterable

END = "<"
"""Ends a string and pads it; in models with a start token it also begins it."""

_TOKEN = re.compile(r"\[[^\]]+\]|<|Br?|Cl?|[NOSPFI]|[bcnosp]|[().=#+\\/:~@?>*$-]|%[0-9]{2}|[0-9]")


class TokenError(ValueError):
    """A character that no token begins with."""


def split_smiles(text: str) -> list[str]:
    """The tokens of a SMILES; joined they give it back.

    MolGPT (Bagal et al., 2022) finds all matches of its expression, so that a character which
    matches nothing vanishes; here it is an error.

    Raises:
        TokenError: a character is no part of any token; the message names it and its place.
    """
    # An open bracket is looked for first: at each one the expression would read on to the end.
    closed = text.rfind("[") <= text.rfind("]")
    tokens = _TOKEN.findall(text) if closed else []
    if len("".join(tokens)) != len(text):
        raise _first_stranger(text)
    return tokens


def _first_stranger(text: str) -> TokenError:
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
    character = text[position]
    hint = "; the bracket is never closed" if character == "[" else ""
    return TokenError(
        f"{character!r} at position {position} of {text[:80]!r} is no SMILES token{hint}"
    )


def vocabulary_of(strings: Iterable[Iterable[str]]) -> dict[str, int]:
    """token -> index over the tokens of some strings and `<`, sorted as MolGPT's stoi.json is."""
    return {token: index for index, token in enumerate(sorted({END}.union(*strings)))}
