"""Is the chosen option the right one?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from rl4bio.answer_block import loose_answer
from rl4bio.rewards.base import Reward
from rl4bio.rewards.verdict import MAX_WRONG_CREDIT
from rl4bio.tags import check_names, strict_parse
from rl4bio.types import Sample
from rl4bio.words import fold, plain

MAX_CHARACTERS = 1000
"""Of an answer that is read; a longer one is no choice."""
MAX_LENIENT = 0.15

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
        names: of the two blocks; see `rl4bio.answer_block.loose_answer`.
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


@dataclass(kw_only=True)
class ChoiceReward(Reward):
    """1 where the answer block chooses the right option (`read_choice`), 0 otherwise.

    `lenient` pays a little for the right option where the form is not kept, and always less than
    for the same option in it, so that a model that does not keep the form yet has something to
    learn from (`loose_choice`).

    The sample's options stand in `extra["options"]` (letter -> text), its target is the letter. NaN
    for a sample without target or without options, such as an open question of the same corpus.
    """

    tags: list[str] = field(default_factory=lambda: ["reasoning", "answer"])
    """Names of the two blocks, in order; a completion that is not strictly these two scores 0."""
    wrong_credit: float = 0.0
    """For one wrong option in the strict form, at most 0.2; 0.1 is the ladder 0 / 0.1 / 1 of Chen
    et al., 2024 (arXiv:2412.18925)."""
    lenient: float = 0.0
    """For the right option without the strict form, at most 0.15, which is less than guessing one
    of six options in it; 0 = nothing."""

    def __post_init__(self) -> None:
        check_names(self.tags)
        if not 0 <= self.lenient <= MAX_LENIENT:
            raise ValueError(f"lenient: got {self.lenient}, needs [0, {MAX_LENIENT}]")
        if not 0 <= self.wrong_credit <= MAX_WRONG_CREDIT:
            raise ValueError(
                f"wrong_credit: got {self.wrong_credit}, needs [0, {MAX_WRONG_CREDIT}]"
            )

    def score(self, completion: str, sample: Sample) -> float:
        options = sample.extra.get("options")
        if sample.target is None or not options:
            return math.nan
        target = sample.target.strip().upper()
        if target not in options:
            raise ValueError(
                f"sample {sample.uid}: target {sample.target!r} is none of the options "
                f"{', '.join(options)}"
            )
        parsed = strict_parse(completion, self.tags)
        if parsed is None:
            right = self.lenient and loose_choice(completion, options, self.tags) == target
            return self.lenient if right else 0.0
        letter = read_choice(parsed.answer, options)
        if letter == target:
            return 1.0
        return 0.0 if letter is None else self.wrong_credit
