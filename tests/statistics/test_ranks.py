"""Ranks and their correlation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.statistics.ranks import (
    code_counts,
    distinct_codes,
    mean_ranks,
    row_correlation,
    spearman,
)


def test_equal_values_share_their_mean_rank() -> None:
    codes, size = distinct_codes([3.0, 1.0, 3.0, 2.0])
    assert (codes.tolist(), size) == ([2, 0, 2, 1], 3)
    # 1 is first, 2 second, the two 3s third and fourth. In the second row 1, 1, 3 and 3.
    rows = np.array([codes, codes[[1, 1, 0, 2]]])
    assert mean_ranks(rows, size).tolist() == [[3.5, 1, 3.5, 2], [1.5, 1.5, 3.5, 3.5]]


def test_counts_of_chosen_items() -> None:
    codes = np.array([[0, 1, 1], [2, 2, 2]])
    assert code_counts(codes, 3).tolist() == [[1, 2, 0], [0, 0, 3]]
    chosen = np.array([[True, True, False], [False, True, True]])
    assert code_counts(codes, 3, chosen).tolist() == [[1, 1, 0], [0, 0, 2]]


def test_correlation_of_rows() -> None:
    first = np.array([[1.0, 2, 3], [1, 2, 3], [5, 5, 5]])
    second = np.array([[2.0, 4, 6], [3, 2, 1], [1, 2, 3]])
    found = row_correlation(first, second)
    assert found[:2] == pytest.approx([1, -1])
    assert math.isnan(found[2])


def test_spearman_by_hand() -> None:
    # Ranks 1.5 1.5 3 4 and 1 2 3 4: deviations -1 -1 .5 1.5 and -1.5 -.5 .5 1.5, whose product
    # sums to 4.5 and whose squares to 4.5 and 5.
    first, second = np.array([1.0, 1, 2, 9]), np.array([0.0, 1, 2, 3])
    assert spearman(first, second) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman(first, -np.exp(first)) == pytest.approx(-1)


def test_spearman_without_spread_or_without_numbers() -> None:
    assert math.isnan(spearman(np.ones(3), np.arange(3.0)))
    assert math.isnan(spearman(np.array([]), np.array([])))
