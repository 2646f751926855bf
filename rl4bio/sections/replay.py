"""Learning again from the best completions of earlier steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl4bio.sections.checks import positive, require

ReplayDraw = Literal["uniform", "score"]
ReplayAdvantage = Literal["mean_abs", "unit", "stored"]
ReplayImportance = Literal["on_policy", "truncated"]


@dataclass(kw_only=True)
class ReplayConfig:
    """A memory of the best completions, some of which join the rows of every step."""

    size: int = 120
    """Completions that it holds, the best by their total reward; of equal ones the newest."""
    rows: int = 32
    """Of the memory that are learnt from in a step, drawn without repeats; over all ranks."""
    draw: ReplayDraw = "uniform"
    """How they are drawn: all alike, or in proportion to their total reward."""
    advantage: ReplayAdvantage = "mean_abs"
    """Of a replayed completion: the mean |advantage| of the step's sampled rows, which is 0 where
    all of a step earned the same; 1; or the advantage that it had when it was sampled."""
    importance: ReplayImportance = "on_policy"
    """on_policy: its ratio starts at 1, as if it had just been sampled. truncated: each token is
    weighted by min(p_now / p_when_sampled, importance_cap)."""
    randomize: bool = False
    """Molecules as another random SMILES at every draw (Augmented Memory, Guo and Schwaller, 2024);
    they have no sampled probabilities, so truncated weighs them by 1."""
    importance_cap: float = 2.0
    """Largest weight of truncated."""
    min_score: float = 0.0
    """Only total rewards above it are remembered."""
    max_alike: int | None = None
    """Most completions of one scaffold, or of one prompt where the task is no molecule; None = no
    limit."""

    def __post_init__(self) -> None:
        positive("grpo.replay", self, "size", "rows", "max_alike")
        require(
            self.importance_cap >= 1,
            "grpo.replay.importance_cap",
            f"got {self.importance_cap}, needs at least 1",
        )
        require(
            self.draw != "score" or self.min_score >= 0,
            "grpo.replay.min_score",
            f"got {self.min_score}, needs at least 0 where draw is score, which is a weight",
        )
