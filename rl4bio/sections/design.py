"""How a budget of scored molecules is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl4bio.sections.checks import positive


@dataclass(kw_only=True)
class MoleculesConfig:
    """What a molecule is worth that was written before. Only for rewards that read molecules."""

    batch_repeats: Literal["zero", "keep"] = "zero"
    """Total reward of the second and later copies of a molecule in a batch."""
    seen_before: Literal["zero", "keep"] = "zero"
    """Total reward of a molecule that an earlier step has scored."""
    max_calls: int | None = None
    """Different molecules that may be scored, over all ranks; the run ends there. Repeats, whose
    rewards come from memory, and texts that are no molecule are free. None = no limit."""

    def __post_init__(self) -> None:
        positive("molecules", self, "max_calls")
