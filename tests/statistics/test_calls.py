"""The curve and the area of the best scores over calls, by hand."""

from __future__ import annotations

import math

import pytest

from rl4bio.statistics.calls import top_auc, top_curve


def test_the_curve_is_the_mean_of_the_best_so_far() -> None:
    scores = [0.1, 0.5, 0.3, 0.4, 0.2]
    # Of two: {.1 .5}, {.5 .4}, and the last call, which is no point of the grid.
    assert top_curve(scores, 2, every=2) == [
        (2, pytest.approx(0.3)),
        (4, pytest.approx(0.45)),
        (5, pytest.approx(0.45)),
    ]
    # Fewer calls than n: the mean of those that there are.
    assert top_curve([0.2, 0.4], 10, every=2) == [(2, pytest.approx(0.3))]
    assert top_curve([], 10) == []


def test_the_area_by_trapezoids_held_to_the_budget() -> None:
    scores = [0.1, 0.5, 0.3, 0.4, 0.2]
    # Points (2, .3), (4, .45), (5, .45): 2*.15 + 2*.375 + 1*.45 = 1.5; then 5 calls of .45.
    assert top_auc(scores, 2, 10, every=2) == pytest.approx((1.5 + 5 * 0.45) / 10)
    assert top_auc(scores, 2, 5, every=2) == pytest.approx(1.5 / 5)
    # What lies beyond the budget is not looked at: points (2, .3), (3, .4).
    assert top_auc(scores, 2, 3, every=2) == pytest.approx((0.3 + 0.35) / 3)


def test_a_constant_score_loses_half_of_the_first_interval() -> None:
    # 0 at call 0 and 1 at call 100: 50, then 9,900 of 1.
    assert top_auc([1.0] * 10_000, 10, 10_000) == pytest.approx(0.995)
    # Ended after 40 calls: 20, then held.
    assert top_auc([1.0] * 40, 10, 10_000) == pytest.approx(0.998)


def test_limits() -> None:
    assert top_auc([], 10, 100) == 0
    assert top_auc([math.nan, 1.0], 1, 2, every=1) == pytest.approx(0.25)  # (0 + (0 + 1) / 2) / 2
    rising = [k / 300 for k in range(300)]
    assert top_auc(rising, 1, 300) > top_auc(rising, 10, 300) > top_auc(rising, 100, 300)
    # A later good molecule is worth less than an early one.
    assert top_auc([1.0, *[0.0] * 299], 1, 300) > top_auc([*[0.0] * 299, 1.0], 1, 300)
    with pytest.raises(ValueError, match="max_calls"):
        top_auc([1.0], 1, 0)
