"""Statistics of yes/no/maybe answers: rates, F1, label mix, each with a bootstrap interval.

Pure numpy. A missing answer (None) is a wrong answer everywhere but in `accuracy_given_parse`.
All intervals of one table are drawn with the same seed, so they resample the same items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABELS = ("yes", "no", "maybe")
NO_ANSWER = "none"
"""Name of the missing answer in a label mix."""

IndexStatistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""A statistic of resampled items: int [R, n] item indices -> float [R], one value a resample."""

_MAX_DRAWS = 2_000_000  # indices held at a time; bounds the memory of a large test set


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one model said to one item."""

    gold: str
    strict: str | None
    """The verdict by the strict parser; None = no answer."""
    lenient: str | None
    tokens: float = math.nan
    """Length of the completion; NaN where nothing was generated."""
    truncated: bool = False
    """Ended by the length limit."""
    rewards: dict[str, float] = field(default_factory=dict)
    """Reward part -> value, and their sum as `total`; NaN = could not be scored."""

    @property
    def right(self) -> bool:
        return self.strict == self.gold


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% bootstrap interval; NaN = undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMetrics:
    """What a model reaches on a set of items; shares in [0, 1]."""

    num_items: int
    parse_strict: Estimate
    parse_lenient: Estimate
    accuracy: Estimate
    """Strict parser; no answer counts as wrong."""
    accuracy_lenient: Estimate
    accuracy_given_parse: Estimate
    """Share of right answers among the strictly parsed ones."""
    macro_f1: Estimate
    class_f1: dict[str, Estimate]
    label_mix: dict[str, float]
    """Share of each predicted label by the strict parser, and of `none`."""
    tokens_mean: Estimate
    truncated_fraction: float
    """NaN where nothing was generated."""
    rewards: dict[str, Estimate]
    """Mean of each reward part and of `total`, over the items that could be scored."""


def accuracy(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Share of right predictions; None is wrong; NaN for no items."""
    right = [g == p for g, p in zip(gold, predicted, strict=True)]
    return sum(right) / len(right) if right else math.nan


def per_class_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> dict[str, float]:
    """F1 = 2 TP / (gold + predicted) of each label; 0 for a label that neither side holds.

    The convention of scikit-learn's `f1_score(labels=LABELS, zero_division=0)`: a missing
    prediction lowers the recall of its gold class and no precision.

    Raises:
        ValueError: a gold label is not one of LABELS.
    """
    index = _all_items(len(gold))
    return {
        label: float(_f1_statistic(gold, predicted, (label,))(index)[0]) if len(gold) else math.nan
        for label in LABELS
    }


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Mean F1 over all three labels, absent ones included with 0; NaN for no items."""
    return sum(per_class_f1(gold, predicted).values()) / len(LABELS)


def label_mix(predicted: Sequence[str | None]) -> dict[str, float]:
    """Share of each label, and of missing answers under `none`; the shares add up to 1."""
    total = len(predicted) or math.nan
    mix = {label: sum(p == label for p in predicted) / total for label in LABELS}
    return mix | {NO_ANSWER: sum(p is None for p in predicted) / total}


def majority_label(gold: Sequence[str]) -> str:
    """The most common gold label (the first of LABELS on a tie): the best constant answer."""
    return max(LABELS, key=list(gold).count)


def mean_statistic(values: Sequence[float]) -> IndexStatistic:
    """The mean over the items that are not NaN; NaN where all are."""
    array = np.asarray(values, dtype=np.float64)
    return ratio_statistic(np.where(np.isnan(array), 0.0, array), ~np.isnan(array))


def ratio_statistic(numerator: Any, denominator: Any) -> IndexStatistic:
    """Sum of one column over the sum of another; NaN where the denominator's sum is 0.

    Args:
        numerator: [n] values.
        denominator: [n] values, not negative.
    """
    above = np.asarray(numerator, dtype=np.float64)
    below = np.asarray(denominator, dtype=np.float64)

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        total = below[index].sum(axis=1)
        ratio = np.full(len(index), np.nan)
        return np.divide(above[index].sum(axis=1), total, out=ratio, where=total > 0)

    return statistic


def macro_f1_statistic(gold: Sequence[str], predicted: Sequence[str | None]) -> IndexStatistic:
    """`macro_f1` of resampled items."""
    return _f1_statistic(gold, predicted, LABELS)


def bootstrap_interval(
    values: Sequence[float] | IndexStatistic,
    *,
    seed: int,
    rounds: int,
    size: int | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval over items (Efron, 1979).

    Args:
        values: [n] numbers, whose mean is meant (NaN left out), or a statistic of indices.
        seed: of the draws; the same seed and size resample the same items.
        rounds: number of resamples R.
        size: number of items n; needed with a statistic.
        level: coverage.

    Returns:
        Lower and upper end; resamples in which the statistic is undefined are left out, and both
        ends are NaN where it always is.

    Raises:
        ValueError: a statistic came without the number of items.
    """
    if callable(values):
        if size is None:
            raise ValueError("bootstrap_interval: a statistic needs size, the number of items")
        statistic, count = values, size
    else:
        statistic, count = mean_statistic(values), len(values)
    if count == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_DRAWS // count)
    drawn = np.concatenate(
        [
            statistic(rng.integers(0, count, size=(min(chunk, rounds - start), count)))
            for start in range(0, rounds, chunk)
        ]
    )
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(statistic: IndexStatistic, *, size: int, seed: int, rounds: int) -> Estimate:
    """The statistic on all items, with its interval."""
    value = float(statistic(_all_items(size))[0]) if size else math.nan
    low, high = bootstrap_interval(statistic, seed=seed, rounds=rounds, size=size)
    return Estimate(value=value, low=low, high=high)


def answer_metrics(items: Sequence[Answer], *, seed: int, rounds: int) -> AnswerMetrics:
    """All statistics of one model's answers.

    Args:
        items: one answer an item; every item has the same reward parts.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.

    Raises:
        ValueError: a gold label is not one of LABELS, or the reward parts differ between items.
    """
    size = len(items)
    parts = list(items[0].rewards) if items else []
    if any(list(item.rewards) != parts for item in items):
        raise ValueError("answer_metrics: the items do not all have the same reward parts")
    gold = [item.gold for item in items]
    strict = [item.strict for item in items]
    parsed = [item.strict is not None for item in items]
    right = [item.right for item in items]
    generated = [not math.isnan(item.tokens) for item in items]

    def of(statistic: IndexStatistic) -> Estimate:
        return estimate(statistic, size=size, seed=seed, rounds=rounds)

    return AnswerMetrics(
        num_items=size,
        parse_strict=of(mean_statistic(parsed)),
        parse_lenient=of(mean_statistic([item.lenient is not None for item in items])),
        accuracy=of(mean_statistic(right)),
        accuracy_lenient=of(mean_statistic([item.lenient == item.gold for item in items])),
        accuracy_given_parse=of(ratio_statistic(right, parsed)),
        macro_f1=of(macro_f1_statistic(gold, strict)),
        class_f1={label: of(_f1_statistic(gold, strict, (label,))) for label in LABELS},
        label_mix=label_mix(strict),
        tokens_mean=of(mean_statistic([item.tokens for item in items])),
        truncated_fraction=(
            sum(item.truncated for item in items) / sum(generated) if any(generated) else math.nan
        ),
        rewards={p: of(mean_statistic([item.rewards[p] for item in items])) for p in parts},
    )


def _all_items(size: int) -> NDArray[np.int64]:
    return np.arange(size, dtype=np.int64)[None, :]  # [1, n]: every item once


def _codes(labels: Sequence[str | None]) -> NDArray[np.int64]:
    known = {label: code for code, label in enumerate(LABELS)}
    return np.asarray([-1 if v is None else known.get(v, -1) for v in labels], dtype=np.int64)


def _f1_statistic(
    gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]
) -> IndexStatistic:
    unknown = sorted(set(gold) - set(LABELS))
    if unknown:
        raise ValueError(f"gold label {unknown[0]!r} is not one of {', '.join(LABELS)}")
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels for {len(predicted)} predictions")
    gold_codes, predicted_codes = _codes(gold), _codes(predicted)

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        of_gold, of_predicted = gold_codes[index], predicted_codes[index]  # [R, n]
        total = np.zeros(len(index))
        for label in labels:
            is_gold = of_gold == LABELS.index(label)
            is_predicted = of_predicted == LABELS.index(label)
            held = is_gold.sum(axis=1) + is_predicted.sum(axis=1)
            hits = 2.0 * (is_gold & is_predicted).sum(axis=1)
            total += np.divide(hits, held, out=np.zeros(len(index)), where=held > 0)
        return total / len(labels)

    return statistic
