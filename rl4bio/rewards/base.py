"""What a reward is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.types import Sample


@dataclass(kw_only=True)
class Reward:
    """One number per completion: in [0, 1] unless a subclass says otherwise, deterministic.

    0 = scored and bad; NaN = could not be scored (no target, time-out). Model output is untrusted:
    parse it, never evaluate it. A subclass is a dataclass whose fields are its options.
    """

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
