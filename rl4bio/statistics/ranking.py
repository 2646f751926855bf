"""How well scores rank the right class: AUROC and AUPRC, and the accuracy of both classes.

Exact with ties, on all items and on resamples of them. Two classes, of which the positive one is
what a task asks for: "(B)" in the prompts of TxGemma.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.statistics.labels import IndexStatistic
from rl4bio.statistics.ranks import code_counts, distinct_codes


def auroc_statistic(scores: Sequence[float], positive: Sequence[bool]) -> IndexStatistic:
    """Chance that a positive item scores above a negative one, ties counting one half.

    The Mann-Whitney form, which is the area under the ROC curve (Hanley and McNeil, 1982).

    Args:
        scores: [n], finite; higher speaks for positive.
        positive: [n], whether the item is.

    Returns:
        A statistic that is NaN for resamples of one class.
    """
    codes, size = distinct_codes(scores)
    is_positive = np.asarray(positive, dtype=bool)

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        positives, negatives = _class_counts(codes[index], is_positive[index], size)
        below = negatives.cumsum(axis=1) - negatives
        above = (positives * (below + negatives / 2)).sum(axis=1)
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _divide(above, pairs)

    return statistic


def average_precision_statistic(
    scores: Sequence[float], positive: Sequence[bool]
) -> IndexStatistic:
    """Area under the precision-recall curve in steps, sum_k (R_k - R_(k-1)) P_k; AUPRC.

    One step a distinct score, from the highest down: the convention of scikit-learn's
    `average_precision_score`. Equal scores for all items give the share of positives.

    Args:
        scores: [n], finite; higher speaks for positive.
        positive: [n], whether the item is.

    Returns:
        A statistic that is NaN for resamples without a positive item.
    """
    codes, size = distinct_codes([-score for score in scores])
    is_positive = np.asarray(positive, dtype=bool)

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        positives, negatives = _class_counts(codes[index], is_positive[index], size)
        hits = positives.cumsum(axis=1)
        precision = _divide(hits, hits + negatives.cumsum(axis=1))
        area = (positives * np.nan_to_num(precision)).sum(axis=1)
        return _divide(area, positives.sum(axis=1))

    return statistic


def balanced_accuracy_statistic(
    gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]
) -> IndexStatistic:
    """Mean recall of the labels: 1/2 for a constant answer to two classes, whatever their shares.

    Returns:
        A statistic that is NaN for resamples in which a label does not occur.
    """
    right = np.asarray([g == p for g, p in zip(gold, predicted, strict=True)])
    of_label = [np.asarray([g == label for g in gold]) for label in labels]

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        recalls = [
            _divide((right & own)[index].sum(axis=1), own[index].sum(axis=1)) for own in of_label
        ]
        mean: NDArray[np.float64] = np.mean(recalls, axis=0)
        return mean

    return statistic


def _class_counts(
    codes: NDArray[np.int64], positive: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positive and negative items of each resample at each distinct score, both [R, size]."""
    found = [code_counts(codes, size, chosen) for chosen in (positive, ~positive)]
    return found[0].astype(np.float64), found[1].astype(np.float64)


def _divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio; NaN where the denominator is 0."""
    ratio = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio
