"""The mix of three rewards that a public medical-reasoning project trains with, repaired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rl4bio.answers.forms import parse_reply
from rl4bio.registry import build_dataclass
from rl4bio.rewards.base import Reward
from rl4bio.rewards.checked import run_raw, run_reward
from rl4bio.rewards.meaning.perplexity import PerplexityReward
from rl4bio.rewards.meaning.semantic import SemanticReward
from rl4bio.rewards.structure import StructureReward
from rl4bio.types import Sample

NO_ANSWER = -1.0
SHARES = ("semantic_share", "perplexity_share", "tags_share")


@dataclass(kw_only=True)
class MedicalMixReward(Reward):
    """0.5 semantic + 0.4 perplexity + 0.1 tags, and -1 without an answer; in [-1, 1].

    After kaushikreddy/Med_Reasoning_AMP, whose perplexity is that of the reference answers, one
    mean a batch, and so says nothing about a completion. Here all three rate the completion, each
    in [0, 1] (`semantic`, `perplexity`, graded `structure`); a completion without a strictly formed
    answer is worth -1. NaN where a sample has no reference.

    Raw values: `.<part>_score` of semantic, perplexity and tags, `.semantic_similarity`, and the
    `.perplexity` itself.
    """

    semantic: dict[str, Any] = field(default_factory=dict)
    """Options of `semantic`; its tags are set below."""
    perplexity: dict[str, Any] = field(default_factory=dict)
    """Options of `perplexity`, such as its model and anchors; its tags are set below."""
    tags: list[str] = field(default_factory=lambda: ["reasoning", "answer"])
    """Names of the two blocks, in order."""
    semantic_share: float = 0.5
    perplexity_share: float = 0.4
    tags_share: float = 0.1
    """The three shares are at least 0 and add up to 1."""

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in SHARES]
        if not all(share >= 0 for share in shares) or not math.isclose(sum(shares), 1):
            raise ValueError(
                f"semantic_share, perplexity_share, tags_share: got {shares}, "
                "need numbers of at least 0 that add up to 1"
            )
        names = {"tags": self.tags}
        self._parts: dict[str, Reward] = {
            "semantic": build_dataclass(SemanticReward, self.semantic | names, where="semantic"),
            "perplexity": build_dataclass(
                PerplexityReward, self.perplexity | names, where="perplexity"
            ),
            "tags": StructureReward(graded=True, tags=self.tags),
        }

    def prepare(self) -> None:
        for part in self._parts.values():
            part.prepare()

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        scores = self._scores(completions, samples)
        return [
            self.combine(*row) if parse_reply(*pair, self.tags) else NO_ANSWER
            for pair, row in zip(
                zip(completions, samples, strict=True),
                zip(*scores.values(), strict=True),
                strict=True,
            )
        ]

    def combine(self, semantic: float, perplexity: float, tags: float) -> float:
        """The reward of a completion that has an answer."""
        return (
            self.semantic_share * semantic
            + self.perplexity_share * perplexity
            + self.tags_share * tags
        )

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        found = {f".{name}_score": v for name, v in self._scores(completions, samples).items()}
        for name, part in self._parts.items():
            found |= {f".{key}": v for key, v in run_raw(name, part, completions, samples).items()}
        return found

    def _scores(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        return {
            name: run_reward(name, part, completions, samples) for name, part in self._parts.items()
        }
