"""yes, no or maybe: what an answer opens with, strictly and as a benevolent reader finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from rl4bio.answers.forms import Form
from rl4bio.answers.kind import Kind
from rl4bio.answers.tags import THOUGHT_TAGS, Tag, strict_parse, strip_terminators
from rl4bio.text.sentences import readings, without_fences
from rl4bio.text.words import fold
from rl4bio.types import Sample

LABELS = ("yes", "no", "maybe")


def strict_verdict(completion: str) -> str | None:
    """yes, no or maybe of a well-formed completion (`strict_parse`), or None. For training."""
    parsed = strict_parse(completion)
    return None if parsed is None else verdict_of(parsed.answer)


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
    the blocks, an unclosed answer, wrappers of LaTeX and markdown
    (`rl4bio.text.sentences.unwrapped`), and, in a text without an answer block, the last sentence
    that states a verdict. Closed answers outside the thought go first; answers that differ give
    None.
    """
    text = without_fences(strip_terminators(completion))
    return next(filter(None, map(_loose_verdict, readings(text))), None)


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


def _loose_verdict(text: str) -> str | None:
    closed, unclosed, rest = _loose_answers(text)
    answers = closed or unclosed
    if not answers:
        return verdict_of(rest) or _last_claim(fold(rest))
    found = {verdict_of(answer) or _last_claim(fold(answer)) for answer in answers} - {None}
    return found.pop() if len(found) == 1 else None


class Verdict(Kind):
    """yes, no or maybe."""

    name = "verdict"
    rank = 0
    tags = THOUGHT_TAGS
    reads = (
        "strict: exactly <thought>...</thought><answer>...</answer> with one label; "
        "direct: the reply opens with one label; lenient: as a benevolent reader finds it"
    )
    compares = (
        "sum over the tokens of ' yes', ' no', ' maybe' after the direct prompt; also "
        "divided by their number, and by the characters of the label"
    )
    apart = True
    ways: ClassVar[Mapping[str, Sequence[str]]] = {"log-prob": ("", " per token", " per character")}

    def read(self, answer: str, sample: Sample) -> str | None:
        return verdict_of(answer)

    def strict(self, completion: str, sample: Sample, form: Form) -> str | None:
        if form == "tags":
            return strict_verdict(completion)
        return (
            verdict_of(completion) if form == "direct" else super().strict(completion, sample, form)
        )

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        return lenient_verdict(completion)

    def labels(self, samples: Sequence[Sample]) -> tuple[str, ...]:
        return LABELS

    def choices(self, sample: Sample) -> Mapping[str, str]:
        return {label: label for label in LABELS}
