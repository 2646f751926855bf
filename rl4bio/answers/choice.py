"""The option that an answer chooses: a letter, or its text.

`read_choice` is the strict reader, which rewards use; `lenient_choice` is a benevolent human's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import Form, loose_answer
from rl4bio.answers.kind import Kind
from rl4bio.answers.tags import body, last_block
from rl4bio.text.sentences import readings
from rl4bio.text.words import fold, plain
from rl4bio.types import Sample

_ANY_TAG = re.compile(r"<[ \t]{0,2}/?[ \t]{0,2}(?:thought|reasoning|answer)[ \t]{0,2}>", re.I)
_CLAIM = re.compile(
    r"(?:\\boxed\{|\b(?:answer|choice|option|letter)\b[ \t*_`\"']{0,4}"
    r"(?:(?:is|would be|should be|must be|will be)\b(?:[ \t]{1,4}"
    r"(?:therefore|thus|clearly|definitely|probably|likely|most likely)\b)?|:|=))[ \t]{0,4}",
    re.I,
)
_MAX_CLAIMS = 50


def lenient_choice(completion: str, options: Mapping[str, str]) -> str | None:
    r"""The letter that a completion chooses, in whatever form it is said.

    Read are, until one of them chooses: what stands in the last answer block; the last claim ("the
    answer is C", "Option: C", "\boxed{C}") on its line, also with a reason behind the letter ("the
    answer is C because ...") that names no other letter; the last line that is not empty. Wrappers
    of LaTeX and markdown do not matter.
    """
    found = (_loose_choice(text, options) for text in readings(body(completion)))
    return next(filter(None, found), None)


LETTER_WAY = "log-prob of the letter"
MAX_CHARACTERS = 1000
"""Of an answer that is read; a longer one is no choice."""
_DECORATION = r"[\s\"'*_`#>(\[{:\-\u2013\u2014]*"
_LEAD = re.compile(
    rf"{_DECORATION}(?:(?:the|my|final|correct|best|right|most|likely)\s{{1,4}}){{0,4}}"
    r"(?:answer|choice|option|letter)\b(?:\s{1,4}to (?:the|this) question\b)?"
    r"(?:\s{1,4}(?:is|would be)\b|\s{0,4}[:=])?"
    rf"{_DECORATION}(?:(?:option|choice|letter)\b)?{_DECORATION}"
)
_SKIP = re.compile(_DECORATION)
# A letter is no part of a word, of a contraction, of a compound (t-cell) or of i.e., b.i.d.
_BEFORE = r"(?<![\w'\-])(?<!\w\.)"
_AFTER = r"(?!\w|[-'.]\w)"
_LETTER = re.compile(rf"{_BEFORE}([a-z]){_AFTER}")
# "a patient", "i think"; not "a or b", "a is".
_ARTICLE = re.compile(r"[ \t]+(?!(?:and|but|is|or)\b)[^\W\d_]{2}")
_ENDS = re.compile(r"\s*(?:$|[.,;:)\]}\-\u2013\u2014=\"'*_`\n])")


def read_choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses, or None where it chooses none or several.

    Read are a letter ("B", "(b)", "**B.**", "Answer: B", "the correct option is B"), a text that
    equals exactly one option, and a letter with its option's text or an explanation behind it
    ("B. Aspirin", "B, because ..."). A letter needs an end or a sign behind it, or its own option's
    text: the A of "A patient" is none. Nothing is chosen where another option's letter stands alone
    further on, or another option's text: so "B or C", a list of all options and "B. <text of C>"
    choose nothing, and neither does "B, for lack of vitamin C" where there is an option C. A lone
    letter is the option of that letter, also where another option's text is that letter.

    Args:
        answer: what stands in the answer block; untrusted.
        options: letter -> text.
    """
    if len(answer) > MAX_CHARACTERS:
        return None
    return _read(answer, tuple(options.items()))


@lru_cache(maxsize=1024)
def _read(answer: str, options: tuple[tuple[str, str], ...]) -> str | None:
    letters = {letter.lower(): letter for letter, _ in options}
    texts = {letter.lower(): plain(text) for letter, text in options}
    text = fold(answer).strip()
    lead = _LEAD.match(text) or _SKIP.match(text)
    start = lead.end() if lead else 0
    for said in (plain(text[start:]), plain(text)):  # an option may begin like a lead
        if said in texts:
            return letters[said]
        same = [letter for letter, option in texts.items() if option and option == said]
        if len(same) == 1:
            return letters[same[0]]
    found = _LETTER.match(text, start)
    if found is None or found[1] not in texts:
        return None
    chosen, behind = found[1], text[found.end() :]
    own = texts[chosen]
    is_set_off = _ENDS.match(behind) or (own and plain(behind).startswith(own))
    return letters[chosen] if is_set_off and not names_another(behind, chosen, texts) else None


def names_another(text: str, chosen: str, texts: Mapping[str, str]) -> bool:
    """Whether a folded text holds the letter or the text of another option than the chosen one."""
    rest = " ".join(text.split())
    known = sorted({option for option in texts.values() if option}, key=len, reverse=True)
    if known:  # the longest first: "iron deficiency anaemia" is not "iron deficiency"
        standing = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)")
        if any(found[0] != texts[chosen] for found in standing.finditer(rest)):
            return True
        rest = standing.sub("|", rest)
    for found in _LETTER.finditer(rest):
        is_article = found[1] in "ai" and _ARTICLE.match(rest, found.end())
        if found[1] != chosen and found[1] in texts and not is_article:
            return True
    return False


def loose_choice(completion: str, options: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The letter that a completion chooses without keeping its form, or None. For training.

    Args:
        completion: generated text alone; untrusted.
        options: letter -> text.
        names: of the two blocks; see `rl4bio.answers.forms.loose_answer`.
    """
    found = loose_answer(completion, names)
    if found is None:
        return None
    answer, outside = found
    letter = read_choice(answer, options)
    if letter is None or len(outside) > MAX_CHARACTERS:
        return None
    texts = {other.lower(): plain(text) for other, text in options.items()}
    return None if names_another(fold(outside), letter.lower(), texts) else letter


# A letter that a claim names with its reason behind it. An a or an i may be a word of its own.
_NAMED = re.compile(
    r"[\s\"'(\[{:]{0,8}(?:(?:option|choice|letter)\s{1,4})?[\"'(\[{]{0,2}"
    r"(?:([A-HJ-Z]|[b-hj-z])(?!['\-.]?\w)|([AaIi])(?=\s{1,4}(?:because|since|as|due)\b)|(A)(?!['\-.]?\w))"
    r"[)\]}\"']{0,2}(?=[ \t]+\w)"
)


def _loose_choice(text: str, options: Mapping[str, str]) -> str | None:
    answer = last_block(text)
    text = _ANY_TAG.sub("\n", text if answer is None else answer)
    found = read_choice(text.strip(), options)
    if found is not None:
        return found
    claims = [claim.end() for claim in _CLAIM.finditer(text)]
    for start in reversed(claims[-_MAX_CLAIMS:]):
        line = text[start : start + MAX_CHARACTERS].split("\n", 1)[0].strip(" \t}")
        sentence = re.split(r"(?<=[.;!?])\s", line, maxsplit=1)[0]
        found = read_choice(line, options) or read_choice(sentence, options)
        found = found or _with_reason(sentence, options)
        if found is not None:
            return found
    lines = [line for line in text.split("\n") if line.strip()]
    return read_choice(lines[-1].strip(), options) if lines else None


def _with_reason(claim: str, options: Mapping[str, str]) -> str | None:
    """The letter that a claim begins with, where words follow that name no other one."""
    found = _NAMED.match(claim)
    letter = next(filter(None, found.groups()), "").upper() if found else ""
    if found is None or letter not in options:
        return None
    behind = plain(claim[found.end() :])
    others = [plain(text) for other, text in options.items() if other != letter]
    if any(text and behind.startswith(text) for text in others):
        return None
    letters = {other.lower(): "" for other in options}
    return None if names_another(behind, letter.lower(), letters) else letter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedChoice(Asked):
    """A question with options."""

    options: Mapping[str, str] | None = None
    """Letter -> text."""


class Choice(Kind):
    """One of several options, each with a letter."""

    name = "choice"
    rank = 1
    asked = AskedChoice
    reads = (
        "strict: exactly <reasoning>...</reasoning><answer>...</answer> (or the form of the "
        "prompt) whose answer chooses one option; lenient: as a benevolent reader finds it"
    )
    compares = (
        "sum over the tokens of each letter, or of each option's text, after the direct "
        "prompt; for the text also divided by its characters"
    )
    ways: ClassVar[Mapping[str, Sequence[str]]] = {
        LETTER_WAY: ("",),
        "log-prob of the option": ("", " per character"),
    }

    def read(self, answer: str, sample: Sample) -> str | None:
        return read_choice(answer, self.choices(sample))

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        return lenient_choice(completion, self.choices(sample))

    def choices(self, sample: Sample) -> Mapping[str, str]:
        return AskedChoice.of(sample).options or {}

    def written(self, sample: Sample, way: str, *, begun: bool) -> dict[str, str]:
        options = self.choices(sample)
        return {letter: letter for letter in options} if way == LETTER_WAY else dict(options)
