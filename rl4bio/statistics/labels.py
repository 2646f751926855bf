"""Labels of answers: F1, mix and confusion over yes, no and maybe, or over letters of options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.answers.verdict import LABELS

NO_ANSWER = "none"
"""Name of the missing answer in a label mix."""

IndexStatistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""A statistic of resampled items: int [R, n] item indices -> float [R], one value a resample."""


def accuracy(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Share of right predictions; None is wrong; NaN for no items."""
    right = [g == p for g, p in zip(gold, predicted, strict=True)]
    return sum(right) / len(right) if right else math.nan


def per_class_f1(
    gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str] = LABELS
) -> dict[str, float]:
    """F1 = 2 TP / (gold + predicted) of each label; 0 for a label that neither side holds.

    The convention of scikit-learn's `f1_score(labels=labels, zero_division=0)`: a missing
    prediction, or one that is none of the labels, lowers the recall of its gold class and no
    precision.

    Raises:
        ValueError: a gold label is not one of the labels.
    """
    index = np.arange(len(gold), dtype=np.int64)[None, :]
    return {
        label: float(f1_statistic(gold, predicted, labels, of=(label,))(index)[0])
        if len(gold)
        else math.nan
        for label in labels
    }


def label_mix(predicted: Sequence[str | None], labels: Sequence[str] = LABELS) -> dict[str, float]:
    """Share of each label, other predictions included, and of missing answers under `none`."""
    total = len(predicted) or math.nan
    other = sorted({p for p in predicted if p is not None} - set(labels))
    mix = {label: sum(p == label for p in predicted) / total for label in (*labels, *other)}
    return mix | {NO_ANSWER: sum(p is None for p in predicted) / total}


def confusion_counts(
    gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str] = LABELS
) -> dict[str, dict[str, int]]:
    """Items by gold label and prediction; a prediction is a key of `label_mix`."""
    pairs = [(g, NO_ANSWER if p is None else p) for g, p in zip(gold, predicted, strict=True)]
    columns = label_mix(predicted, labels)
    return {label: {column: pairs.count((label, column)) for column in columns} for label in labels}


def f1_statistic(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    labels: Sequence[str] = LABELS,
    *,
    of: Sequence[str] | None = None,
) -> IndexStatistic:
    """The mean F1 of the labels `of` over resampled items; None = all, absent ones with 0.

    Raises:
        ValueError: a gold label is not one of the labels, or the lengths differ.
    """
    unknown = sorted(set(gold) - set(labels))
    if unknown:
        raise ValueError(f"gold label {unknown[0]!r} is not one of {', '.join(labels)}")
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels for {len(predicted)} predictions")
    gold_codes, predicted_codes = _codes(gold, labels), _codes(predicted, labels)
    codes = [list(labels).index(label) for label in (labels if of is None else of)]

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        of_gold, of_predicted = gold_codes[index], predicted_codes[index]  # [R, n]
        total = np.zeros(len(index))
        for code in codes:
            is_gold, is_predicted = of_gold == code, of_predicted == code
            held = is_gold.sum(axis=1) + is_predicted.sum(axis=1)
            hits = 2.0 * (is_gold & is_predicted).sum(axis=1)
            total += np.divide(hits, held, out=np.zeros(len(index)), where=held > 0)
        return total / len(codes)

    return statistic


def _codes(values: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    known = {label: code for code, label in enumerate(labels)}
    return np.asarray([-1 if v is None else known.get(v, -1) for v in values], dtype=np.int64)
