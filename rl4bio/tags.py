"""Reading tagged answers: the tags of a completion, its parts, and its verdict yes, no or maybe.

Everything here runs in linear time on any text. Tags are literal and lower case and are looked for
before any Unicode normalisation, so that no look-alike character makes a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

from rl4bio.text import readings, without_fences
from rl4bio.words import fold

LABELS = ("yes", "no", "maybe")
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

_WORD_CHARACTER = re.compile(r"[^\W_]")


def check_names(tags: Sequence[object]) -> None:
    """Refuse what are not the names of two blocks.

    Raises:
        ValueError: there are not exactly two, one is no plain name, or both are the same.
    """
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
    text: str, names: Sequence[str] = ("thought", "answer"), *, limit: int | None = None
) -> list[Tag]:
    """The first tags of these names in a text, in order; literal, no attributes, no blanks."""
    pattern = re.compile(rf"<(/?)({'|'.join(map(re.escape, names))})>")
    found = islice(pattern.finditer(text), limit)
    return [Tag(m[2], bool(m[1]), m.start(), m.end()) for m in found]


def strict_parse(completion: str, names: Sequence[str] = ("thought", "answer")) -> Parsed | None:
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


def strict_verdict(completion: str) -> str | None:
    """yes, no or maybe of a well-formed completion (`strict_parse`), or None. For training."""
    parsed = strict_parse(completion)
    return None if parsed is None else verdict_of(parsed.answer)


# --- the verdict of one answer; all patterns read folded text -------------------------------------

# A label ends where no letter, digit, joined hyphen, apostrophe or combining mark goes on.
_END = r"(?![\w\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]|[-']\w)"
_DECORATION = re.compile(r"[\s\"'*_`#>(\[{:\-\u2013\u2014]*")
_ANSWER_LEAD = re.compile(
    r"(?:(?:the|my|final|correct|short)\s{1,4}){0,3}"
    r"(?:answer|verdict)(?:\s{1,4}(?:to (?:the|this) question\s{1,4})?(?:is|would be)\b)?"
)
_LABEL = re.compile(rf"(yes|no|maybe){_END}")
# "no" before a noun is a determiner ("no difference"), before these words it is the verdict.
_GOES_ON = re.compile(
    r"[ \t]*(?:$|[^\w \t]|(?:and|or|but|as|because|since|it|its|the|this|that|these|those|there|"
    r"they|we|he|she|i|a|an|in|on|at|by|for|with|when|while|if|although|though|however|according|"
    r"based|yes|no|maybe|not)\b)"
)
_NAMED_ONLY = re.compile(r"[\"'*_`\s]*(?:is|isn't|was|wasn't|would|cannot|can't|may|might)\b")
_JOINER = re.compile(r"\W*(?:(?:and|or|but|to|then|also|perhaps)\b\W*)*")
_LATER = re.compile(
    r"(?:[.!?;\n]|\b(?:actually|rather|instead|answer(?: is)?|verdict(?: is)?|wait)\b)"
    rf"[\s:,\"'*_`(\[\-]{{0,8}}(yes|no|maybe){_END}(?=[ \t\"'*_`]*(?:[.,;:!?\n)\]]|$))"
)


@lru_cache(maxsize=1024)
def verdict_of(answer: str) -> str | None:
    """The label that an answer opens with, or None where a careful reader finds none or two.

    Quotes, brackets, markdown and a lead such as "Answer:" may stand before it. "No" counts where
    it is a verdict, not where it belongs to a noun ("no difference was found"). Another label
    joined to the first, or given later as a sentence of its own, takes the verdict away.
    """
    return _folded_verdict(fold(answer).strip())


def _folded_verdict(text: str) -> str | None:
    start = _skip(text, 0)
    lead = _ANSWER_LEAD.match(text, start)
    if lead:
        start = _skip(text, lead.end())
    found = _label_at(text, start)
    if found is None:
        return None
    label, end = found
    if _NAMED_ONLY.match(text, end):
        return None
    joined = _JOINER.match(text, end)
    second = _label_at(text, joined.end()) if joined else None
    if second and second[0] != label:
        return None
    if any(later[1] != label for later in _LATER.finditer(text, end)):
        return None
    return label


def _skip(text: str, start: int) -> int:
    match = _DECORATION.match(text, start)
    return match.end() if match else start


def _label_at(text: str, start: int) -> tuple[str, int] | None:
    """The label at a place of a folded text and where it ends; a determiner "no" is none."""
    match = _LABEL.match(text, start)
    if match is None or (match[1] == "no" and not _GOES_ON.match(text, match.end())):
        return None
    return match[1], match.end()


# --- the lenient reader ---------------------------------------------------------------------------

_LOOSE_TAG = re.compile(
    r"(?:<[ \t]{0,2}|^[ \t]{0,4})(/?)[ \t]{0,2}(thought|answer)[ \t]{0,2}>",
    re.IGNORECASE | re.MULTILINE,
)
_CLAIM = re.compile(
    r"(?:\b(?:answer|verdict|conclusion)\b(?: to (?:the|this) question)?[ \t*_`]{0,4}"
    r"(?:is|would be|should be|:|=)"
    r"|\b(?:therefore|thus|hence|overall|in conclusion|in summary|so)\b,?"
    r"|(?:[.!?\n]|\A))"
    r"[\s:\"'*_`(\[]{0,8}(?:[a-c][).:][ \t]{0,4})?(?=(?:yes|no|maybe)\b)"
)
_CLAIM_CHARACTERS = 120
_MAX_CLAIMS = 50


def lenient_verdict(completion: str) -> str | None:
    """yes, no or maybe as a benevolent reader finds it, or None. For evaluation only.

    Accepts what the strict reader does not: code fences, upper-case or damaged tags, text around
    the blocks, an unclosed answer, wrappers of LaTeX and markdown (`rl4bio.text.unwrapped`), and,
    in a text without an answer block, the last sentence that states a verdict. Closed answers
    outside the thought go first; answers that differ give None.
    """
    text = without_fences(strip_terminators(completion))
    return next(filter(None, map(_loose_verdict, readings(text))), None)


def _loose_verdict(text: str) -> str | None:
    closed, unclosed, rest = _loose_answers(text)
    answers = closed or unclosed
    if not answers:
        return verdict_of(rest) or _last_claim(fold(rest))
    found = {verdict_of(answer) or _last_claim(fold(answer)) for answer in answers} - {None}
    return found.pop() if len(found) == 1 else None


def _loose_answers(text: str) -> tuple[list[str], list[str], str]:
    """Closed answers outside the thought, unclosed ones, and the text without its tags."""
    tags = [Tag(m[2].lower(), bool(m[1]), m.start(), m.end()) for m in _LOOSE_TAG.finditer(text)]
    in_thought = _inside_thoughts(tags)
    closed: list[str] = []
    unclosed: list[str] = []
    edges = [*tags, Tag("", True, len(text), len(text))]
    for index, (tag, following) in enumerate(pairwise(edges)):
        if tag.name == "answer" and not tag.closing and not in_thought[index]:
            is_closed = following.name == "answer" and following.closing
            (closed if is_closed else unclosed).append(text[tag.end : following.start])
    bounds = [0, *(place for tag in tags for place in (tag.start, tag.end)), len(text)]
    rest = "\n".join(text[a:b] for a, b in zip(bounds[::2], bounds[1::2], strict=True))
    return closed, unclosed, rest


def _inside_thoughts(tags: Sequence[Tag]) -> list[bool]:
    """Whether each tag stands in a thought that is closed later (an unclosed one holds nothing)."""
    inside = [False] * len(tags)
    opened: int | None = None
    for index, tag in enumerate(tags):
        if tag.name != "thought":
            continue
        if tag.closing and opened is not None:
            inside[opened + 1 : index] = [True] * (index - opened - 1)
        opened = None if tag.closing else index
    return inside


def _last_claim(text: str) -> str | None:
    """The verdict of the last place of a folded text that states one."""
    starts = [match.end() for match in _CLAIM.finditer(text)]
    for start in reversed(starts[-_MAX_CLAIMS:]):
        verdict = _folded_verdict(text[start : start + _CLAIM_CHARACTERS])
        if verdict:
            return verdict
    return None
