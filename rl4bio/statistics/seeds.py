"""A number of several runs that differ by chance alone, such as their seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from rl4bio.statistics.bootstrap import Estimate

_QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip
"""Student's t at .975 for 1, 2, ... degrees of freedom."""
_NORMAL = 1.95996


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean of independent runs with its 95 % interval, mean +- t s / sqrt(n).

    s is the sample standard deviation and t Student's (1908) with n - 1 degrees of freedom; above
    20 of them the normal quantile z plus the first two terms of its expansion (Fisher and Cornish,
    1960), which is within .001 of it.

    Args:
        values: one of each run; those that are not finite are left out.

    Returns:
        NaN for both ends of fewer than two runs, and for the value of none.
    """
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return Estimate(value=known[0] if known else math.nan, low=math.nan, high=math.nan)
    freedom = len(known) - 1
    quantile = _QUANTILES[freedom - 1] if freedom <= len(_QUANTILES) else _expanded(freedom)
    mean = statistics.fmean(known)
    half = quantile * statistics.stdev(known) / math.sqrt(len(known))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def _expanded(freedom: int) -> float:
    """z + (z^3 + z) / 4v + (5 z^5 + 16 z^3 + 3 z) / 96 v^2 for v degrees of freedom."""
    z = _NORMAL
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + (z**3 + z) / (4 * freedom) + second
