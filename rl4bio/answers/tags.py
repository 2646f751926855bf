"""Reading tagged answers: the tags of a completion, its parts, and its verdict yes, no or maybe.

Everything here runs in linear time on any text. Tags are literal and lower case and are looked for
before any Unicode normalisation, so that no look-alike character makes a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from rl4bio.text.sentences import without_fences

TERMINATORS = (
    "<end_of_turn>",
    "<eos>",
    "<|eot_id|>",
    "<|im_end|>",
    "</s>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<pad>",
)
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,64}\|>|<\uff5c[^\uff5c<>\s]{1,64}\uff5c>"
    r"|</?(?:start|end)_of_[a-z]{1,32}>|<(?:bos|eos|pad)>|</?s>|\[/?INST\]|<</?SYS>>"
)
"""Shapes of the tokens that begin and end turns in the families of chat models, whichever model is
in use; its own special tokens are known once it is loaded (`rl4bio.modules.chat_template`)."""
MIN_THOUGHT_CHARACTERS = 3
THOUGHT_TAGS = ("thought", "answer")
"""Names of the two blocks where nothing else is asked for."""

_WORD_CHARACTER = re.compile(r"[^\W_]")


def check_names(tags: Sequence[object] | None) -> None:
    """Refuse what are not the names of two blocks; None is no names.

    Raises:
        ValueError: there are not exactly two, one is no plain name, or both are the same.
    """
    if tags is None:
        return
    names = {name for name in tags if isinstance(name, str) and name.isidentifier()}
    if len(tags) != 2 or len(names) != 2:
        raise ValueError(f"tags: got {list(tags)}, needs two different names")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag in a text: `<name>` or, if closing, `</name>`, at text[start:end]."""

    name: str
    closing: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """The two parts of a well-formed completion, stripped."""

    thought: str
    answer: str


@lru_cache(maxsize=1024)  # all rewards of a batch ask for the same texts
def strip_terminators(text: str) -> str:
    """The text without white space and known end-of-turn tokens at its end."""
    end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        if not text.endswith(TERMINATORS, 0, end):
            return text[:end]
        end -= next(len(t) for t in TERMINATORS if text.endswith(t, 0, end))


def find_control(text: str) -> str:
    """The first token in a text that chat models read as a start or an end of a turn, or ""."""
    found = _CONTROL.search(text)
    return found[0] if found else ""


def scan_tags(
    text: str, names: Sequence[str] = THOUGHT_TAGS, *, limit: int | None = None
) -> list[Tag]:
    """The first tags of these names in a text, in order; literal, no attributes, no blanks."""
    pattern = re.compile(rf"<(/?)({'|'.join(map(re.escape, names))})>")
    found = islice(pattern.finditer(text), limit)
    return [Tag(m[2], bool(m[1]), m.start(), m.end()) for m in found]


def strict_parse(completion: str, names: Sequence[str] = THOUGHT_TAGS) -> Parsed | None:
    """The parts of a completion that has exactly `<a>...</a><b>...</b>` and nothing around it.

    Args:
        completion: generated text alone; terminators at its end are ignored.
        names: the names of the first and of the second block.

    Returns:
        None unless each tag is there once and in order, with white space only outside the blocks,
        at least three letters or digits in the first and one in the second.
    """
    return _parse(completion, tuple(names))


@lru_cache(maxsize=1024)
def _parse(completion: str, names: tuple[str, ...]) -> Parsed | None:
    text = strip_terminators(completion)
    tags = scan_tags(text, names, limit=5)
    expected = [(name, closing) for name in names for closing in (False, True)]
    if [(tag.name, tag.closing) for tag in tags] != expected:
        return None
    opened, closed, answer, end = tags
    outside = text[: opened.start], text[closed.end : answer.start], text[end.end :]
    if any(piece and not piece.isspace() for piece in outside):
        return None
    parsed = Parsed(text[opened.end : closed.start].strip(), text[answer.end : end.start].strip())
    if has_content(parsed.thought, MIN_THOUGHT_CHARACTERS) and has_content(parsed.answer):
        return parsed
    return None


def has_content(text: str, num_characters: int = 1) -> bool:
    """Whether a text has at least this many letters or digits."""
    found = islice(_WORD_CHARACTER.finditer(text), num_characters)
    return sum(1 for _ in found) == num_characters


# --- the verdict of one answer; all patterns read folded text -------------------------------------


# --- the lenient reader ---------------------------------------------------------------------------


_ANSWER_TAG = re.compile(r"<[ \t]{0,2}(/?)[ \t]{0,2}answer[ \t]{0,2}>|^/answer\b", re.I | re.M)


def last_answer(completion: str) -> str | None:
    """What stands behind the last opened answer tag, closed or not; None where there is no tag."""
    return last_block(body(completion))


def body(completion: str) -> str:
    """A completion without its end and without the lines that open and close blocks of code."""
    return without_fences(strip_terminators(completion))


def last_block(text: str) -> str | None:
    """What stands behind the last opened answer tag of a text; None where there is no tag."""
    tags = [*_ANSWER_TAG.finditer(text)]
    opened = [number for number, tag in enumerate(tags) if not tag[1]]
    if not opened:
        return None
    last = opened[-1]
    end = tags[last + 1].start() if last + 1 < len(tags) else len(text)
    return text[tags[last].end() : end]
