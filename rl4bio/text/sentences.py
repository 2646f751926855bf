"""Text that data and rewards both read: chat turns, sentences, wrappers around words.

No regular expression backtracks.
"""

from __future__ import annotations

import re

from rl4bio.types import Message

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(\[\"'<])")
_ABBREVIATION_ENDS = (" vs.", " e.g.", " i.e.", " et al.", " approx.", " cf.", " no.", " fig.")


_CJK_OPENING = "\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\uff3b\uff5f"
_WRAPPER = re.compile(
    r"(?P<box>\\(?:boxed|fbox|framebox)\s{0,4}\{)|(?P<opening>\\[a-zA-Z]{1,32}\*?\s{0,4}\{)"
    r"|(?P<brace>[{}])|(?P<kept>\\[{}])"
    r"|(?P<cjk>[\u3008-\u3011\u3014-\u301b\uff3b\uff3d\uff5f\uff60])"
    r"|(?P<dropped>\$\$?|\\[()\[\],;!]|\*{1,3}|`{1,3}|~~|(?<![^\W_])_{1,3}|_{1,3}(?![^\W_])"
    r"|</?(?:b|i|u|em|strong|code|mark|span|p|sub|sup)>|^[ \t]{0,3}(?:>{1,3}|#{1,6})[ \t])",
    re.MULTILINE,
)
_FENCE = re.compile(r"^[ \t]{0,4}```[^\n`]*$", re.MULTILINE)


def without_fences(text: str) -> str:
    """The text without the lines that open and close blocks of code."""
    return _FENCE.sub("", text)


def unwrapped(text: str) -> str:
    r"""The text without what LaTeX, markdown and HTML put around words: \text{C}, $C$, **C**.

    A box states a result, so \boxed{C} becomes a line of its own, "Answer: C". Brackets of Chinese
    and Japanese texts become round ones.
    """
    if not _WRAPPER.search(text):
        return text
    opened: list[str] = []  # what closes each brace that is open
    pieces: list[str] = []
    last = 0
    for found in _WRAPPER.finditer(text):
        pieces.append(text[last : found.start()])
        pieces.append(_plain_wrapper(found, opened))
        last = found.end()
    return "".join([*pieces, text[last:]])


def _plain_wrapper(found: re.Match[str], opened: list[str]) -> str:
    """What stands for one sign of a wrapper in the plain text."""
    kind, said = found.lastgroup, found[0]
    if kind == "box":
        opened.append("\n")
        return "\nAnswer: "
    if kind == "opening":
        opened.append("")
        return ""
    if kind == "brace" and said == "{":
        opened.append("}")
    elif kind == "brace" and opened:
        return opened.pop()
    elif kind == "cjk":
        return "(" if said in _CJK_OPENING else ")"
    return "" if kind == "dropped" else said


def readings(text: str) -> list[str]:
    """A text as it is and without wrappers, the one to be read first in front.

    As it is goes first, since what is meant may hold such signs itself; but a box holds what its
    writer calls the result.
    """
    bare = unwrapped(text)
    if bare == text:
        return [text]
    return [bare, text] if "\\boxed" in text or "\\fbox" in text else [text, bare]


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
