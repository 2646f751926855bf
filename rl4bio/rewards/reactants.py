"""Are these the reactants that give the product?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import answer_of
from rl4bio.answers.kinds import own_kind
from rl4bio.answers.reactants import Reactants
from rl4bio.chem.reactants import (
    copied_similarity,
    reactant_similarity,
    read_reactants,
    same_reactants,
)
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample


@dataclass(kw_only=True)
class ReactantsReward(Reward):
    """1 for exactly the reactants of the target, partial credit for similar ones; in [0, 1].

    Otherwise partial * max(0, (s - s0) / (1 - s0)): s is the `reactant_similarity` of the answer to
    the target, s0 the most that copies of the product (`Asked.input`) reach, because a product
    resembles its reactants. So repeating the product earns 0, also where it is the target, and a
    molecule like it next to nothing. The order of the reactants, their spelling and atom map
    numbers do not count. An answer that is no SMILES earns 0; a sample of another task gets NaN.
    """

    partial: float = 0.5
    """The limit for reactants that are not exactly the target's, in [0, 1); 0 = no credit."""

    def __post_init__(self) -> None:
        if not 0 <= self.partial < 1:
            raise ValueError(f"partial: got {self.partial}, needs [0, 1)")

    def score(self, completion: str, sample: Sample) -> float:
        if not isinstance(own_kind(sample), Reactants) or sample.target is None:
            return math.nan
        target = read_reactants(sample.target)
        if not target:
            raise ValueError(f"sample {sample.uid}: target {sample.target[:80]!r} is no SMILES")
        product = read_reactants(Asked.of(sample).input or "")
        answer = read_reactants(answer_of(completion, sample) or "")
        if not answer or same_reactants(answer, product):
            return 0.0
        if same_reactants(answer, target):
            return 1.0
        copied = copied_similarity(product, target)
        if copied >= 1:
            return 0.0
        gained = (reactant_similarity(answer, target) - copied) / (1 - copied)
        return self.partial * max(0.0, gained)
