"""One of the two options of a therapeutic task, as TxGemma's prompts write them: (A) and (B)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rl4bio.answers.choice import LETTER_WAY, AskedChoice, Choice
from rl4bio.types import Sample

POSITIVE = "B"
"""The class that tasks of two options ask for, by the convention of their prompts."""
_CERTAIN = 1e-6
"""The least chance of a class that training lacks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedOption(AskedChoice):
    """A question with two options, and what training has of each."""

    class_share: Mapping[str, float] | None = None
    """Letter -> share of the training split."""


class Option(Choice):
    """A letter in brackets."""

    name = "option"
    asked = AskedOption
    asks = "the letter of the right option, in brackets,"
    compares = (
        "sum over the tokens of '(A)' and '(B)': behind the direct or predict prompt; and, of a "
        "prompt that asks for reasoning, inside the answer block behind an empty reasoning and "
        "behind the greedy completion's own. P(B) = p(B) / (p(A) + p(B))"
    )
    ways: ClassVar[Mapping[str, Sequence[str]]] = {LETTER_WAY: ("",)}

    def written(self, sample: Sample, way: str, *, begun: bool) -> dict[str, str]:
        lead = "" if begun else self.lead(sample)
        return {letter: f"{lead}{letter})" for letter in self.choices(sample)}

    def said(self, target: str) -> str:
        return f"({target})"

    def lead(self, sample: Sample) -> str:
        return "("

    def positive(self, sample: Sample) -> str | None:
        return POSITIVE

    def shares(self, sample: Sample) -> Mapping[str, float]:
        """Letter -> share of the training split; {} where it is not known."""
        return AskedOption.of(sample).class_share or {}

    def constant_odds(self, samples: Sequence[Sample]) -> float:
        """Those of the positive option's share of the training split: AUROC 1/2 by definition."""
        share = float(self.shares(samples[0]).get(POSITIVE, math.nan))
        share = min(max(share, _CERTAIN), 1 - _CERTAIN)  # NaN stays NaN
        return math.log(share / (1 - share))
