"""How near is the predicted number, compared with always giving the same one?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answers.bins import TOP_BIN, Bin, read_bin
from rl4bio.answers.forms import answer_of
from rl4bio.answers.kinds import own_kind
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample


@dataclass(kw_only=True)
class BinReward(Reward):
    """1 - |predicted - target| / mae in [floor, 1], where mae is what the best constant gets.

    Bins are 000 to 1000; `AskedBin.constant` has mae, the mean absolute difference of the training
    bins from their median. So an exact answer earns 1, and the median throughout earns 0 on average
    over the training bins before the floor, a little more behind it. An answer that is not exactly
    three digits or 1000 earns what the bin furthest from the target would: never more than any
    number, so that there is nothing to gain by not answering. NaN for a sample of another task.

    The raw value `_error` is the absolute error in the label's own unit, NaN where none was read.
    """

    floor: float | None = -1.0
    """The least that a completion earns, at most 0; None = no floor. It keeps one far answer from
    outweighing its whole group."""

    def __post_init__(self) -> None:
        if self.floor is not None and not (math.isfinite(self.floor) and self.floor <= 0):
            raise ValueError(f"floor: got {self.floor}, needs a finite number of at most 0")

    def score(self, completion: str, sample: Sample) -> float:
        kind = own_kind(sample)
        if not isinstance(kind, Bin) or sample.target is None:
            return math.nan
        target, mae = read_bin(sample.target), kind.spread(sample)
        if target is None or not mae > 0:
            raise ValueError(
                f"sample {sample.uid}: needs a target of three digits or 1000 and a constant.mae "
                f"above 0, got {sample.target!r} and {mae}"
            )
        predicted = read_bin(answer_of(completion, sample))
        furthest = max(target, TOP_BIN - target)
        error = furthest if predicted is None else abs(predicted - target)
        value = 1 - error / mae
        return value if self.floor is None else max(self.floor, value)

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        pairs = zip(completions, samples, strict=True)
        return {"_error": [_error(completion, sample) for completion, sample in pairs]}


def _error(completion: str, sample: Sample) -> float:
    """|predicted - label| in the label's unit; NaN where the sample has no label or scale."""
    kind, predicted = own_kind(sample), read_bin(answer_of(completion, sample))
    if predicted is None or not isinstance(kind, Bin) or not kind.is_labelled(sample):
        return math.nan
    return abs(kind.scale(sample).value_of(predicted) - kind.label(sample))
