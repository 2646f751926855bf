"""How good the best molecules are over the calls of a scoring function, as the PMO benchmark
measures it (Gao et al., 2022, arXiv:2206.12411).

A call is a molecule that was scored for the first time. The curve is the mean of the n best scores
so far, looked at every 100 calls; its area is taken by the trapezoid rule from 0 at call 0, over
the budget. A run that ended early holds its last value to the end of the budget.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

TOPS = (1, 10, 100)
"""How many of the best molecules the benchmark averages over."""
GRID = 100
"""Calls between two looks at the best."""


def top_curve(scores: Sequence[float], n: int, *, every: int = GRID) -> list[tuple[int, float]]:
    """Calls, and the mean of the n best scores by then, at every grid point and at the last call.

    Args:
        scores: in the order of their calls; NaN (a call that gave no score) counts as 0.
        n: how many of the best; the mean runs over fewer while there are fewer.
        every: calls between two points.
    """
    if n < 1 or every < 1:
        raise ValueError(f"top_curve: n is {n} and every {every}; both need at least 1")
    best: list[float] = []
    points = []
    for call, score in enumerate(scores, start=1):
        value = 0.0 if math.isnan(score) else score
        if len(best) < n:
            heapq.heappush(best, value)
        elif value > best[0]:
            heapq.heapreplace(best, value)
        if call % every == 0 or call == len(scores):
            points.append((call, math.fsum(best) / len(best)))
    return points


def top_auc(scores: Sequence[float], n: int, max_calls: int, *, every: int = GRID) -> float:
    """Area under `top_curve` over the budget, in the unit of the scores.

    AUC = (sum_k (c_k - c_(k-1)) (t_k + t_(k-1)) / 2 + (max_calls - c_K) t_K) / max_calls over the K
    points of the curve, calls c and top means t, with c_0 = t_0 = 0.

    Args:
        scores: in the order of their calls; those beyond the budget do not count.
        n: how many of the best are averaged.
        max_calls: the budget, at least 1.
        every: calls between two points.

    Returns:
        0 where nothing was scored.
    """
    if max_calls < 1:
        raise ValueError(f"top_auc: max_calls is {max_calls}, needs at least 1")
    calls, top, area = 0, 0.0, 0.0
    for here, value in top_curve(scores[:max_calls], n, every=every):
        area += (here - calls) * (value + top) / 2
        calls, top = here, value
    return (area + (max_calls - calls) * top) / max_calls
