"""What a completion answers: a label, the letter of an option, or, for open questions, whether.

The strict reader is the one that rewards use, so that accuracy and reward agree. The lenient one is
a benevolent human's, for evaluation alone: the gap between the two is a matter of form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rl4bio.answer_block import TAGS, answer_of, read_bin
from rl4bio.data.medical_text import Form, read_completion
from rl4bio.evaluation.labels import ANSWERED, Kind
from rl4bio.rewards.choice import MAX_CHARACTERS, names_another, read_choice
from rl4bio.tags import (
    Parsed,
    has_content,
    lenient_verdict,
    strict_parse,
    strict_verdict,
    strip_terminators,
    verdict_of,
)
from rl4bio.text import readings, without_fences
from rl4bio.types import Sample
from rl4bio.words import plain

_ANSWER_TAG = re.compile(r"<[ \t]{0,2}(/?)[ \t]{0,2}answer[ \t]{0,2}>|^/answer\b", re.I | re.M)
_ANY_TAG = re.compile(r"<[ \t]{0,2}/?[ \t]{0,2}(?:thought|reasoning|answer)[ \t]{0,2}>", re.I)
_CLAIM = re.compile(
    r"(?:\\boxed\{|\b(?:answer|choice|option|letter)\b[ \t*_`\"']{0,4}"
    r"(?:(?:is|would be|should be|must be|will be)\b(?:[ \t]{1,4}"
    r"(?:therefore|thus|clearly|definitely|probably|likely|most likely)\b)?|:|=))[ \t]{0,4}",
    re.I,
)
# A letter that a claim names with its reason behind it. An a or an i may be a word of its own.
_NAMED = re.compile(
    r"[\s\"'(\[{:]{0,8}(?:(?:option|choice|letter)\s{1,4})?[\"'(\[{]{0,2}"
    r"(?:([A-HJ-Z]|[b-hj-z])(?!['\-.]?\w)|([AaIi])(?=\s{1,4}(?:because|since|as|due)\b)|(A)(?!['\-.]?\w))"
    r"[)\]}\"']{0,2}(?=[ \t]+\w)"
)
_MAX_CLAIMS = 50
_LOOSE_BIN = re.compile(r"(?<![\w.+\-])(?:0\d\d|[1-9]\d\d|1000)(?![\w%]|[.,]\d)", re.ASCII)


def parse_completion(completion: str, form: Form) -> Parsed | None:
    """Thought and answer of a completion in its form, or None; either pair of tags will do."""
    if form == "tags":
        return strict_parse(completion) or strict_parse(completion, TAGS)
    return read_completion(completion, form)


def strict_answer(completion: str, sample: Sample, kind: Kind, form: Form) -> str | None:
    """The verdict of a completion that keeps its form, or None.

    Args:
        completion: generated text alone.
        sample: with its options, where `kind` is choice.
        kind: what is asked for.
        form: what the prompt asks the completion to look like.

    Returns:
        yes, no or maybe; a letter; the digits of a bin; or ANSWERED for an open question.
    """
    if "answer_form" in sample.extra:
        return _therapeutic_answer(answer_of(completion, sample), sample, kind)
    if kind == "verdict" and form == "tags":
        return strict_verdict(completion)
    if kind == "verdict" and form == "direct":
        return verdict_of(completion)
    parsed = parse_completion(completion, form)
    if parsed is None:
        return None
    if kind == "verdict":
        return verdict_of(parsed.answer)
    return read_choice(parsed.answer, sample.extra["options"]) if kind == "choice" else ANSWERED


def _therapeutic_answer(answer: str | None, sample: Sample, kind: Kind) -> str | None:
    """What the rewards of therapeutic tasks read in an answer."""
    if not answer:
        return None
    if kind == "choice":
        return read_choice(answer, sample.extra["options"])
    if kind == "bin":
        return None if read_bin(answer) is None else answer.strip()
    return ANSWERED if has_content(answer) else None


def lenient_answer(completion: str, sample: Sample, kind: Kind, form: Form) -> str | None:
    """The verdict as a benevolent reader finds it, or None; see `strict_answer`.

    An open question is answered where an answer block has been opened, or none was asked for.
    """
    if kind == "verdict":
        return lenient_verdict(completion)
    if kind == "choice":
        return lenient_choice(completion, sample.extra["options"])
    if kind == "bin":
        return lenient_bin(completion, form)
    answer = last_answer(completion)
    if answer is None and form == "direct":
        answer = strip_terminators(completion)
    return ANSWERED if answer and has_content(answer) else None


def lenient_bin(completion: str, form: Form) -> str | None:
    """The bin that a completion tells: the first number of the last answer block that is one.

    Without a block the first of an answer alone, and the last of a text that reasons.
    """
    found = (_loose_bin(text, form) for text in readings(_body(completion)))
    return next(filter(None, found), None)


def _loose_bin(text: str, form: Form) -> str | None:
    answer = _last_block(text)
    found = _LOOSE_BIN.findall(text if answer is None else answer)
    if not found:
        return None
    return found[-1] if answer is None and form != "direct" else found[0]


def last_answer(completion: str) -> str | None:
    """What stands behind the last opened answer tag, closed or not; None where there is no tag."""
    return _last_block(_body(completion))


def _body(completion: str) -> str:
    return without_fences(strip_terminators(completion))


def _last_block(text: str) -> str | None:
    tags = [*_ANSWER_TAG.finditer(text)]
    opened = [number for number, tag in enumerate(tags) if not tag[1]]
    if not opened:
        return None
    last = opened[-1]
    end = tags[last + 1].start() if last + 1 < len(tags) else len(text)
    return text[tags[last].end() : end]


def lenient_choice(completion: str, options: Mapping[str, str]) -> str | None:
    r"""The letter that a completion chooses, in whatever form it is said.

    Read are, until one of them chooses: what stands in the last answer block; the last claim ("the
    answer is C", "Option: C", "\boxed{C}") on its line, also with a reason behind the letter ("the
    answer is C because ...") that names no other letter; the last line that is not empty. Wrappers
    of LaTeX and markdown do not matter.
    """
    found = (_loose_choice(text, options) for text in readings(_body(completion)))
    return next(filter(None, found), None)


def _loose_choice(text: str, options: Mapping[str, str]) -> str | None:
    answer = _last_block(text)
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
