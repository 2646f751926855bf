"""Which items nothing else beats in every respect: the non-dominated front.

An item dominates another if it is at least as good in every objective and better in one. Equal
items do not dominate each other, so that all copies of a front's item are on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether each item is on the front.

    O(n log n) for one or two objectives; for k of them O(n f k), f the size of the front.

    Args:
        values: float [n, k], higher is better; an item with a NaN is not on the front and
            dominates none.

    Returns:
        bool [n].

    Raises:
        ValueError: values is not two-dimensional, or has no objective.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"pareto_front: got shape {array.shape}, needs [items, objectives]")
    on_front = np.zeros(len(array), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(array).any(axis=1))
    if not len(known):
        return on_front
    distinct, item = np.unique(array[known], axis=0, return_inverse=True)
    # Best first: what dominates a row stands before it.
    best_first = distinct[::-1]
    of_two = best_first.shape[1] <= 2
    kept = _sweep(best_first) if of_two else _filter(best_first)
    on_front[known] = kept[::-1][item.reshape(-1)]
    return on_front


def _sweep(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The front of distinct rows by falling first objective, ties by falling last one.

    A row stays if its last objective is above that of every row before it.
    """
    last = rows[:, -1]
    if rows.shape[1] == 1:
        best: NDArray[np.bool_] = last == last[0]
        return best
    before = np.concatenate([[-np.inf], np.maximum.accumulate(last)[:-1]])
    kept = last > before
    kept[0] = True  # also where it is minus infinity
    return kept


def _filter(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The front of distinct rows in falling lexicographic order, which no later row dominates."""
    kept = np.zeros(len(rows), dtype=np.bool_)
    front = np.empty_like(rows)
    size = 0
    for number, row in enumerate(rows):
        if not (front[:size] >= row).all(axis=1).any():
            front[size] = row
            size += 1
            kept[number] = True
    return kept
