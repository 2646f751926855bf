"""Numbers that are answered as one of a thousand bins of a label's scale."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rl4bio.answers.answer import NumberAnswer
from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import Form
from rl4bio.answers.kind import Constant, Kind
from rl4bio.answers.tags import body, last_block
from rl4bio.errors import DataError
from rl4bio.text.sentences import readings
from rl4bio.types import Sample

TOP_BIN = 1000
_BIN = re.compile(r"0\d\d|[1-9]\d\d|1000", re.ASCII)


def bin_of(value: float, low: float, high: float) -> int:
    """The bin 0 to 1000 of a label: 1000 (value - low) / (high - low), rounded, held inside.

    TxGemma (Wang et al., 2025, arXiv:2504.06196) scales regression labels from the training
    minimum to the training maximum; that halves are rounded up is our reading.

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"bin_of: got low {low} and high {high}, needs low below high")
    share = (value - low) / (high - low)
    return min(TOP_BIN, max(0, math.floor(TOP_BIN * share + 0.5)))


def value_of_bin(number: float, low: float, high: float) -> float:
    """The label in its own unit of a bin; the inverse of `bin_of` up to rounding."""
    return low + number / TOP_BIN * (high - low)


def bin_text(number: int) -> str:
    """A bin as prompts ask for it: three digits with leading zeros, or 1000."""
    return f"{number:03d}"


def read_bin(answer: str | None) -> int | None:
    """The bin of an answer that is exactly three digits, or 1000; None for anything else."""
    return int(answer) if answer is not None and _BIN.fullmatch(answer.strip()) else None


_LOOSE_BIN = re.compile(r"(?<![\w.+\-])(?:0\d\d|[1-9]\d\d|1000)(?![\w%]|[.,]\d)", re.ASCII)


def lenient_bin(completion: str, form: Form) -> str | None:
    """The bin that a completion tells: the first number of the last answer block that is one.

    Without a block the first of an answer alone, and the last of a text that reasons.
    """
    found = (_loose_bin(text, form) for text in readings(body(completion)))
    return next(filter(None, found), None)


def _loose_bin(text: str, form: Form) -> str | None:
    answer = last_block(text)
    found: list[str] = _LOOSE_BIN.findall(text if answer is None else answer)
    if not found:
        return None
    return found[-1] if answer is None and form != "direct" else found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The labels of bin 000 and of bin 1000, in the unit of the label."""

    low: float
    high: float

    def bin_of(self, value: float) -> int:
        """The bin of a value, held inside the scale."""
        return bin_of(value, self.low, self.high)

    def value_of(self, number: float) -> float:
        """The value that a bin stands for, in the unit of the label."""
        return value_of_bin(number, self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AskedBin(Asked):
    """A question for a number; an item whose answer is not known has no label and no scale."""

    label: float | None = None
    """In its own unit."""
    scale: Mapping[str, float] | None = None
    """low and high: the labels of bin 000 and of bin 1000."""
    constant: Mapping[str, float] | None = None
    """Of the training bins: their median (`bin`) and the mean distance from it (`mae`)."""


class Bin(Kind):
    """A number, told as a bin of the scale of the training labels."""

    name = "bin"
    asked = AskedBin
    asks = "the number, three digits from 000 to 999 or 1000,"
    rank = 2
    vote = "median"
    has_labels = False
    reads = (
        "strict: the answer is three digits, or 1000; lenient: the first such number in the "
        "answer, without an answer block the last of the text; an answer that the strict reader "
        "does not read counts as the median of the training labels"
    )

    def scale(self, sample: Sample) -> Scale:
        """Of the training labels of the sample's task."""
        return Scale(**(AskedBin.of(sample).scale or {}))

    def label(self, sample: Sample) -> float:
        """In its own unit; NaN where it is not known."""
        label = AskedBin.of(sample).label
        return math.nan if label is None else float(label)

    def spread(self, sample: Sample) -> float:
        """Mean distance of the training bins from their median; 0 where it is not known."""
        return float((AskedBin.of(sample).constant or {}).get("mae", 0.0))

    def median(self, sample: Sample) -> float:
        """The label of the median of the training bins."""
        return self.scale(sample).value_of((AskedBin.of(sample).constant or {})["bin"])

    def is_labelled(self, sample: Sample) -> bool:
        """Whether a sample has what a number is compared with."""
        asked = AskedBin.of(sample)
        return asked.label is not None and asked.scale is not None

    def read(self, answer: str, sample: Sample) -> str | None:
        return None if read_bin(answer) is None else answer.strip()

    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        return lenient_bin(completion, form)

    def number(self, strict: str | None, sample: Sample) -> NumberAnswer | None:
        said, scale = read_bin(strict), self.scale(sample)
        return NumberAnswer(
            label=self.label(sample),
            said=math.nan if said is None else scale.value_of(said),
            constant=self.median(sample),
        )

    def constants(
        self, samples: Sequence[Sample], train: Sequence[Sample]
    ) -> dict[str, list[Constant]]:
        """Median and mean of the training labels.

        The median is that of the training bins, which also stands for an answer that cannot be
        read.
        """
        found = {"training median": self.median(samples[0])}
        if train:
            found["training mean"] = statistics.fmean(map(self.label, train))
        return {
            f"{name} {value:.3g}": [self._constant(sample, value) for sample in samples]
            for name, value in found.items()
        }

    def _constant(self, sample: Sample, value: float) -> Constant:
        number = NumberAnswer(label=self.label(sample), said=value, constant=value)
        return Constant(said=bin_text(self.scale(sample).bin_of(value)), number=number)

    def check(self, sample: Sample) -> None:
        """Refuse an item whose label is not finite, whose target is no bin, or whose scale is none.

        Raises:
            DataError: it is one.
        """
        asked = AskedBin.of(sample)
        label, scale = asked.label, asked.scale or {}
        if (
            not isinstance(label, int | float)
            or not math.isfinite(label)
            or read_bin(sample.target) is None
            or not scale.get("low", math.nan) < scale.get("high", math.nan)
            or "bin" not in (asked.constant or {})
        ):
            raise DataError(
                f"test item {sample.uid} has the label {label!r}, the target {sample.target!r} and "
                f"the scale {scale!r}; a number needs a finite label, a bin of three digits (or "
                "1000), and low below high"
            )

    def count(self, samples: Sequence[Sample]) -> str:
        return f"{len(samples)} numbers"

    def facts(self, samples: Sequence[Sample]) -> dict[str, str]:
        """What bins mean in the unit of the label, and what a label loses in its bin."""
        scale = self.scale(samples[0])
        low, high = scale.low, scale.high
        outside = sum(not low <= self.label(sample) <= high for sample in samples)
        return {
            "scale": f"bin 000 is {low:.4g} and 1000 is {high:.4g}, the least and the largest "
            f"training label, so a bin is {(high - low) / 1000:.3g} wide; {outside} of "
            f"{len(samples)} labels lie outside",
        }
