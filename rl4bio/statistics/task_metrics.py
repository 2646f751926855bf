"""What only some answers have: ranking of two classes, errors of numbers, means of measures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rl4bio.answers.answer import Answer, NumberAnswer
from rl4bio.statistics.bootstrap import mean_statistic
from rl4bio.statistics.labels import IndexStatistic
from rl4bio.statistics.ranking import (
    auroc_statistic,
    average_precision_statistic,
    balanced_accuracy_statistic,
)
from rl4bio.statistics.regression import r2_statistic, spearman_statistic


def task_statistics(items: Sequence[Answer]) -> dict[str, IndexStatistic]:
    """Name -> statistic, as far as all answers have what it needs.

    Two classes: `balanced_accuracy`, and with log-probabilities `auroc`, `auprc`, and `brier`, the
    mean squared error of P(positive) (Brier, 1950). Numbers: `mae` and `mae_read` (of the answers
    that could be read) in the label's unit, `spearman`, `r2`. Completions: means of `measures`.
    """
    found: dict[str, IndexStatistic] = {}
    if not items:
        return found
    classes = {item.positive for item in items}
    if len(classes) == 1 and None not in classes:
        found |= _of_classes(items, str(items[0].positive))
    numbers = [item.number for item in items if item.number is not None]
    if len(numbers) == len(items):
        found |= _of_numbers(numbers)
    for name in items[0].measures:
        found[name] = mean_statistic([item.measures.get(name, math.nan) for item in items])
    return found


def _of_classes(items: Sequence[Answer], positive: str) -> dict[str, IndexStatistic]:
    gold = [str(item.gold) for item in items]
    labels = tuple(sorted(set(gold)))
    found = {
        "balanced_accuracy": balanced_accuracy_statistic(
            gold, [item.strict for item in items], labels
        )
    }
    odds = [item.log_odds for item in items]
    if all(map(math.isfinite, odds)):
        is_positive = [label == positive for label in gold]
        chances = (1 + np.tanh(np.asarray(odds) / 2)) / 2  # the logistic, without overflow
        found["auroc"] = auroc_statistic(odds, is_positive)
        found["auprc"] = average_precision_statistic(odds, is_positive)
        found["brier"] = mean_statistic(list((chances - np.asarray(is_positive)) ** 2))
    return found


def _of_numbers(numbers: Sequence[NumberAnswer]) -> dict[str, IndexStatistic]:
    told = [number.told for number in numbers]
    labels = [number.label for number in numbers]
    return {
        "mae": mean_statistic([number.error for number in numbers]),
        "mae_read": mean_statistic([abs(number.said - number.label) for number in numbers]),
        "spearman": spearman_statistic(told, labels),
        "r2": r2_statistic(told, labels),
    }
