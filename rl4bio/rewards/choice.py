"""Is the chosen option the right one?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl4bio.answers.choice import AskedChoice, loose_choice, read_choice
from rl4bio.answers.forms import TAGS, parse_reply, tags_of
from rl4bio.answers.tags import check_names
from rl4bio.rewards.base import Reward, check_range
from rl4bio.rewards.verdict import MAX_WRONG_CREDIT
from rl4bio.types import Sample

MAX_LENIENT = 0.15


@dataclass(kw_only=True)
class ChoiceReward(Reward):
    """1 where the answer block chooses the right option (`read_choice`), 0 otherwise.

    `lenient` pays a little for the right option where the form is not kept, and always less than
    for the same option in it, so that a model that does not keep the form yet has something to
    learn from (`loose_choice`).

    The sample's options stand in its `AskedChoice`, its target is the letter. NaN
    for a sample without target or without options, such as an open question of the same corpus.
    """

    tags: list[str] | None = None
    """Names of the two blocks, in order; None = those of the prompt, else reasoning and answer. A
    completion that is not strictly these two scores 0. Where the prompt asks for another form
    (think, direct), it is read as that."""
    wrong_credit: float = 0.0
    """For one wrong option in the strict form, at most 0.2; 0.1 is the ladder 0 / 0.1 / 1 of Chen
    et al., 2024 (arXiv:2412.18925)."""
    lenient: float = 0.0
    """For the right option without the strict form, at most 0.15, which is less than guessing one
    of six options in it; 0 = nothing."""

    def __post_init__(self) -> None:
        check_names(self.tags)
        check_range("lenient", self.lenient, MAX_LENIENT)
        check_range("wrong_credit", self.wrong_credit, MAX_WRONG_CREDIT)

    def score(self, completion: str, sample: Sample) -> float:
        options = AskedChoice.of(sample).options
        if sample.target is None or not options:
            return math.nan
        target = sample.target.strip().upper()
        if target not in options:
            raise ValueError(
                f"sample {sample.uid}: target {sample.target!r} is none of the options "
                f"{', '.join(options)}"
            )
        parsed = parse_reply(completion, sample, self.tags, default=TAGS)
        if parsed is None:
            names = tags_of(sample, self.tags, TAGS)
            right = self.lenient and loose_choice(completion, options, names) == target
            return self.lenient if right else 0.0
        letter = read_choice(parsed.answer, options)
        if letter == target:
            return 1.0
        return 0.0 if letter is None else self.wrong_credit
