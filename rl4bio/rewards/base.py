"""What a reward is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rl4bio.types import Sample


@dataclass(kw_only=True)
class Reward:
    """One number per completion: in [0, 1] unless a subclass says otherwise, deterministic.

    0 = scored and bad; NaN = could not be scored (no target, time-out). Model output is untrusted:
    parse it, never evaluate it. A subclass is a dataclass whose fields are its options.
    """

    reads_molecules: ClassVar[bool] = False
    """Whether the completions are molecules; `MoleculeReward` says yes."""
    may_hang: ClassVar[bool] = False
    """Whether options or completions can make it run for ever, so that it needs a process."""

    def prepare(self) -> None:
        """Read the files that the reward needs; called once, before the first completion."""

    def score(self, completion: str, sample: Sample) -> float:
        """The reward of one completion (only the newly generated text, no prompt)."""
        raise RuntimeError(f"{type(self).__name__} defines neither score nor __call__")

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        """The rewards of N completions; override it where a reward needs the whole batch.

        Args:
            completions: N texts, those of one prompt adjacent.
            samples: the N samples they answer.
        """
        return [self.score(c, s) for c, s in zip(completions, samples, strict=True)]

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        """What the rewards were made from, in its own unit, for logs and tables.

        Returns:
            suffix of the reward's name ("" for the reward itself) -> N floats, NaN = none.
        """
        return {}


def check_range(option: str, value: float, most: float) -> None:
    """Raise a ValueError unless the value of an option is in [0, most]."""
    if not 0 <= value <= most:
        raise ValueError(f"{option}: got {value}, needs [0, {most}]")
