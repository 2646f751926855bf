"""How well numbers are told: mean absolute error, R2 and rank correlation, on resamples of items.

All in the unit of the label. An item whose answer could not be read is told the constant's number,
so that silence is worth what always saying that number is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.statistics.labels import IndexStatistic
from rl4bio.statistics.ranks import distinct_codes, mean_ranks, row_correlation


def spearman_statistic(told: Sequence[float], labels: Sequence[float]) -> IndexStatistic:
    """Rank correlation (Spearman, 1904): Pearson's of the ranks, equal values sharing their mean.

    Args:
        told: [n], finite.
        labels: [n], finite.

    Returns:
        A statistic whose ranks are those inside each resample; NaN where either side is constant.
    """
    sides = [distinct_codes(told), distinct_codes(labels)]

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        return row_correlation(*(mean_ranks(codes[index], size) for codes, size in sides))

    return statistic


def r2_statistic(told: Sequence[float], labels: Sequence[float]) -> IndexStatistic:
    """Coefficient of determination 1 - sum (y - f)^2 / sum (y - mean y)^2.

    0 for the mean of the items' own labels, and below for anything worse; not a squared
    correlation. NaN where the labels are all equal.

    Args:
        told: [n] f, finite.
        labels: [n] y, finite.
    """
    said, gold = np.asarray(told, dtype=np.float64), np.asarray(labels, dtype=np.float64)

    def statistic(index: NDArray[np.int64]) -> NDArray[np.float64]:
        wanted = gold[index]
        residual = ((wanted - said[index]) ** 2).sum(axis=1)
        spread = ((wanted - wanted.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        varied = wanted.max(axis=1) > wanted.min(axis=1)
        share = np.full(len(index), np.nan)
        np.divide(residual, spread, out=share, where=varied)
        return 1 - share

    return statistic
