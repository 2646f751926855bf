"""Test items by what they ask for, and what answers always the same would score."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rl4bio.answers.bins import bin_of, bin_text, read_bin, value_of_bin
from rl4bio.answers.forms import positive_class
from rl4bio.answers.reading import Kind
from rl4bio.data import Corpus
from rl4bio.errors import DataError
from rl4bio.statistics.answers import Answer
from rl4bio.statistics.labels import LABELS, majority_label
from rl4bio.statistics.regression import NumberAnswer
from rl4bio.types import Sample

if TYPE_CHECKING:
    from rl4bio.evaluation.replies import Questions

KINDS: tuple[Kind, ...] = ("verdict", "choice", "bin", "open")


@dataclass(slots=True, kw_only=True)
class Items:
    """Test items of one kind, and of one task where the corpus has tasks."""

    kind: Kind
    samples: list[Sample]
    task: str = ""
    constants: dict[str, float] = field(default_factory=dict)
    """Of numbers, what training says to answer always, name -> value in the label's unit."""

    @property
    def name(self) -> str:
        """What a report of several is called, as the name of a folder."""
        return re.sub(r"[^\w\-]", "_", self.task, flags=re.ASCII) or self.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: yes, no and maybe; the letters that are right somewhere; () of others."""
        if self.kind == "verdict":
            return LABELS
        if self.kind in ("open", "bin"):
            return ()
        return tuple(sorted({str(sample.target) for sample in self.samples}))


def task_of(sample: Sample) -> str:
    """The task of a sample; "" where its corpus has none."""
    return str(sample.extra.get("task", ""))


def training_constants(corpus: Corpus, items: Items) -> dict[str, float]:
    """Median and mean of the training labels of a task of numbers, in the unit of the label.

    The median is that of the training bins, which also stands for an answer that cannot be read.
    """
    extra = items.samples[0].extra
    found = {"training median": value_of_bin(extra["constant"]["bin"], **extra["scale"])}
    train = [s.extra["label"] for s in corpus.samples("train") if task_of(s) == items.task]
    return found | ({"training mean": statistics.fmean(train)} if train else {})


def kinds_of(samples: Sequence[Sample]) -> list[Kind]:
    """The kind of each sample: options make a choice, a corpus of labels is one of verdicts.

    A sample that says `kind` in its `extra` is what it says there.

    Raises:
        DataError: the right letter is none of the options; or most targets are yes, no or maybe,
            and this one is not; or a number has no finite label or no scale.
    """
    bare = [s for s in samples if not (s.extra.get("options") or s.extra.get("kind"))]
    labelled = 2 * sum(sample.target in LABELS for sample in bare) > len(bare)
    return [_kind(sample, labelled) for sample in samples]


def _kind(sample: Sample, labelled: bool) -> Kind:
    if sample.extra.get("kind") == "bin":
        check_number(sample)
        return "bin"
    if sample.extra.get("kind") in ("reactants", "design"):
        return "open"
    options = sample.extra.get("options")
    known = tuple(options or LABELS)
    if (options or labelled) and sample.target not in known:
        raise DataError(
            f"test item {sample.uid} has the label {sample.target!r}; "
            f"`rl4bio evaluate` scores {', '.join(known)} there; correct or remove it"
        )
    return "choice" if options else "verdict" if labelled else "open"


def check_number(sample: Sample) -> None:
    """Refuse an item of numbers that cannot be scored.

    Raises:
        DataError: its label is not finite, its target is no bin, or its scale is none.
    """
    extra = sample.extra
    label, scale = extra.get("label"), extra.get("scale", {})
    if (
        not isinstance(label, int | float)
        or not math.isfinite(label)
        or read_bin(sample.target) is None
        or not scale.get("low", math.nan) < scale.get("high", math.nan)
        or "bin" not in extra.get("constant", {})
    ):
        raise DataError(
            f"test item {sample.uid} has the label {label!r}, the target {sample.target!r} and the "
            f"scale {scale!r}; a number needs a finite label, a bin of three digits (or 1000), and "
            "low below high"
        )


_READERS = {
    "verdict": "strict: exactly <thought>...</thought><answer>...</answer> with one label; "
    "direct: the reply opens with one label; lenient: as a benevolent reader finds it",
    "choice": "strict: exactly <reasoning>...</reasoning><answer>...</answer> (or the form of the "
    "prompt) whose answer chooses one option; lenient: as a benevolent reader finds it",
    "bin": "strict: the answer is three digits, or 1000; lenient: the first such number in the "
    "answer, without an answer block the last of the text; an answer that the strict reader does "
    "not read counts as the median of the training labels",
    "open": "none; parsed: the completion keeps the form of the prompt",
}
_CHOICES = {
    "verdict": "sum over the tokens of ' yes', ' no', ' maybe' after the direct prompt; also "
    "divided by their number, and by the characters of the label",
    "choice": "sum over the tokens of each letter, or of each option's text, after the direct "
    "prompt; for the text also divided by its characters",
}
_LETTERS = (
    "sum over the tokens of '(A)' and '(B)': behind the direct or predict prompt; and, of a prompt "
    "that asks for reasoning, inside the answer block behind an empty reasoning and behind the "
    "greedy completion's own. P(B) = p(B) / (p(A) + p(B))"
)


def _scale(questions: Questions) -> dict[str, str]:
    """What bins mean in the unit of the label, and what a label loses in its bin."""
    scale = questions.samples[0].extra["scale"]
    low, high = scale["low"], scale["high"]
    labels = [sample.extra["label"] for sample in questions.samples]
    outside = sum(not low <= label <= high for label in labels)
    return {
        "scale": f"bin 000 is {low:.4g} and 1000 is {high:.4g}, the least and the largest training "
        f"label, so a bin is {(high - low) / 1000:.3g} wide; {outside} of {len(labels)} labels lie "
        "outside",
    }


_CERTAIN = 1e-6
"""The least chance of a class that training lacks."""


def constant_answers(items: Items) -> dict[str, list[Answer]] | None:
    """Name of a constant -> its answers; None where the best constant label is all there is.

    The probability of the positive option is its share of the training split, the same for every
    item: AUROC 1/2, AUPRC the share of positive items.
    """
    if items.kind == "bin":
        return {
            f"{name} {value:.3g}": [_number(items, k, value) for k in range(len(items.samples))]
            for name, value in items.constants.items()
        }
    first = items.samples[0]
    positive = positive_class(first)
    if positive is None:
        return None
    label = majority_label([str(sample.target) for sample in items.samples], items.labels)
    share = float(first.extra.get("class_share", {}).get(positive, math.nan))
    share = min(max(share, _CERTAIN), 1 - _CERTAIN)  # NaN stays NaN
    odds = math.log(share / (1 - share))
    return {
        f"always {label!r}": [
            Answer(
                gold=str(sample.target),
                strict=label,
                lenient=label,
                positive=positive,
                log_odds=odds,
            )
            for sample in items.samples
        ]
    }


def _number(items: Items, position: int, value: float) -> Answer:
    extra = items.samples[position].extra
    said = bin_text(bin_of(value, **extra["scale"]))
    number = NumberAnswer(label=float(extra["label"]), said=value, constant=value)
    return Answer(gold=None, strict=said, lenient=said, number=number)
