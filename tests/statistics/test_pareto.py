"""rl4bio.statistics.pareto: fronts by hand, ties and copies, and against brute force."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from rl4bio.statistics.pareto import pareto_front


def dominated(values: NDArray[np.float64], row: int) -> bool:
    """By the definition: someone is at least as good everywhere and better somewhere."""
    mine = values[row]
    return any((other >= mine).all() and (other > mine).any() for other in values)


def test_by_hand() -> None:
    # (3, 1) and (1, 3) are the ends, (2, 2) lies between them, (1, 1) is below all three, and
    # (3, 0) is as good as (3, 1) in the first and worse in the second objective.
    points = [(1, 1), (3, 1), (2, 2), (3, 0), (1, 3)]
    assert pareto_front(points).tolist() == [False, True, True, False, True]


def test_copies_share_their_place() -> None:
    assert pareto_front([(2, 2), (1, 1), (2, 2), (1, 1)]).tolist() == [True, False, True, False]
    assert pareto_front([[1.0], [3.0], [3.0]]).tolist() == [False, True, True]


def test_a_missing_number_neither_stays_nor_dominates() -> None:
    points = [(9, math.nan), (1, 1), (math.nan, math.nan)]
    assert pareto_front(points).tolist() == [False, True, False]
    assert pareto_front([(math.nan, 1)]).tolist() == [False]
    assert pareto_front(np.empty((0, 2))).tolist() == []


def test_infinite_objectives() -> None:
    points = [(1, -math.inf), (0, -math.inf), (math.inf, -math.inf), (0, 0)]
    assert pareto_front(points).tolist() == [False, False, True, True]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_against_brute_force(objectives: int, levels: int) -> None:
    """Few levels give many ties and copies."""
    noise = np.random.default_rng([objectives, levels])
    for size in (1, 2, 30, 60):
        values = noise.integers(0, levels, (size, objectives)).astype(np.float64)
        expected = [not dominated(values, row) for row in range(size)]
        assert pareto_front(values).tolist() == expected


def test_order_and_units_play_no_part() -> None:
    noise = np.random.default_rng(1)
    values = noise.integers(0, 30, (200, 2)).astype(np.float64)
    front = pareto_front(values)
    shuffled = noise.permutation(200)
    assert (pareto_front(values[shuffled]) == front[shuffled]).all()
    assert (pareto_front(np.exp(values / 10) * [1, 7] - 3) == front).all()
    assert (pareto_front(values[:, ::-1]) == front).all()


def test_two_objectives_of_many_items_take_no_square_of_them() -> None:
    """Every item is on the front here: pairs would be 4e10, which no time limit allows."""
    rising = np.arange(200_000.0)
    start = time.thread_time()
    assert pareto_front(np.stack([rising, -rising], axis=1)).all()
    assert time.thread_time() - start < 10


@pytest.mark.parametrize("values", [[1.0, 2.0], np.empty((3, 0))])
def test_another_shape_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="needs \\[items, objectives\\]"):
        pareto_front(values)  # type: ignore[arg-type]
