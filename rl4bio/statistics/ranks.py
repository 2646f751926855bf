"""Ranks and their correlation, of one set of numbers or of many resamples of it at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def distinct_codes(
    values: Sequence[float] | NDArray[np.float64],
) -> tuple[NDArray[np.int64], int]:
    """The place of each value among the distinct ones, ascending, int [n], and their number."""
    distinct, codes = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    return codes.astype(np.int64).reshape(-1), len(distinct)


def code_counts(
    codes: NDArray[np.int64], size: int, chosen: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """How often each code occurs in each row, int [R, size].

    Args:
        codes: int [R, n], each below `size`.
        size: number of codes.
        chosen: bool [R, n], the items that count; None: all.
    """
    rows = len(codes)
    flat = (codes + size * np.arange(rows)[:, None]).ravel()  # one bin a row and code
    if chosen is not None:
        flat = flat[chosen.ravel()]
    return np.bincount(flat, minlength=rows * size).reshape(rows, size)


def mean_ranks(codes: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """The rank of every item inside its row, from 1; equal ones share their mean; float [R, n]."""
    counts = code_counts(codes, size)
    ranks = counts.cumsum(axis=1) - (counts - 1) / 2
    return np.take_along_axis(ranks, codes, axis=1)


def row_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of each row, float [R]; NaN where one side is constant."""
    x = first - first.mean(axis=1, keepdims=True)
    y = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    share = np.full(len(first), np.nan)
    np.divide((x * y).sum(axis=1), scale, out=share, where=scale > 0)
    return share


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of the ranks (Spearman, 1904), equal values sharing their mean rank.

    Args:
        first: [n], finite.
        second: [n], finite.

    Returns:
        In [-1, 1]; NaN where a side is constant or empty.
    """
    if not len(first):
        return float("nan")
    sides = [distinct_codes(first), distinct_codes(second)]
    return float(row_correlation(*(mean_ranks(codes[None], size) for codes, size in sides))[0])
