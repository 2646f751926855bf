"""Estimates with bootstrap intervals over items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio.statistics.labels import IndexStatistic

_MAX_DRAWS = 2_000_000  # indices held at a time; bounds the memory of a large test set


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% bootstrap interval; NaN = undefined."""

    value: float
    low: float
    high: float


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
        np.divide(above[index].sum(axis=1), total, out=ratio, where=total > 0)
        return ratio

    return statistic


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


def _all_items(size: int) -> NDArray[np.int64]:
    return np.arange(size, dtype=np.int64)[None, :]  # [1, n]: every item once
