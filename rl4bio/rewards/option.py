"""Is the chosen letter the right one, with rare classes worth as much as common ones?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rl4bio.answers.choice import loose_choice, read_choice
from rl4bio.answers.forms import TAGS, answer_of
from rl4bio.answers.kinds import own_kind
from rl4bio.answers.option import Option
from rl4bio.rewards.base import Reward, check_range
from rl4bio.rewards.verdict import MAX_LENIENT
from rl4bio.types import Sample


@dataclass(kw_only=True)
class OptionReward(Reward):
    """The weight of its class for the right letter, in (0, 1]; 0 for a wrong one or none.

    With `balance`, a right answer of class c is worth min(share) / share_c, shares of the training
    split (`AskedOption.class_share`): 1 for the rarest class. Answering one letter throughout then
    earns the same on average whatever the letter, where plain accuracy pays for the common one. A
    class that training lacks is worth 1. NaN for a sample of another task.

    Advantages that are divided by the spread of their group (`grpo.advantage_scale: group`) lose
    the weight again, since all right answers of a group have the same.
    """

    balance: bool = True
    """Weigh classes; false = 1 for every right answer, for a split that is balanced by itself."""
    lenient: float = 0.0
    """Share of that for the right letter where the form tags is asked for and not kept, at most
    0.3, which is less than guessing one of two letters in it; 0 = nothing."""

    def __post_init__(self) -> None:
        check_range("lenient", self.lenient, MAX_LENIENT)

    def score(self, completion: str, sample: Sample) -> float:
        kind = own_kind(sample)
        if not isinstance(kind, Option) or sample.target is None:
            return math.nan
        options = kind.choices(sample)
        if sample.target not in options:
            raise ValueError(
                f"sample {sample.uid}: target {sample.target!r} is none of the options "
                f"{', '.join(options) or '(none)'}"
            )
        answer = answer_of(completion, sample)
        share = 1.0 if answer is not None else self.lenient
        if answer is not None:
            letter = read_choice(answer, options)
        else:
            letter = loose_choice(completion, options, TAGS)
        if not share or letter != sample.target:
            return 0.0
        if not self.balance:
            return share
        shares = kind.shares(sample)
        if not shares:
            raise ValueError(
                f"sample {sample.uid}: class_share is missing; give it, or set balance: false"
            )
        return share * class_weight(sample.target, shares)


def class_weight(letter: str, shares: Mapping[str, float]) -> float:
    """What a right answer is worth, in (0, 1], so that each class pays the same altogether.

    Args:
        letter: of the class.
        shares: letter -> its share of the training split; 0 or absent: training lacks it.
    """
    share = shares.get(letter, 0.0)
    if share <= 0:
        return 1.0
    return min(other for other in shares.values() if other > 0) / share
