"""rl4bio.statistics.seeds: the interval of a mean over runs."""

from __future__ import annotations

import math

import pytest

from rl4bio.statistics.seeds import mean_interval


def test_by_hand() -> None:
    """1, 2, 3: mean 2, s = 1, t(2) = 4.3027, half = 4.3027 / sqrt(3) = 2.4842."""
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert (found.low, found.high) == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-3)


def test_one_run_has_no_interval_and_none_no_value() -> None:
    one = mean_interval([0.4, math.nan])
    assert one.value == 0.4
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert math.isnan(mean_interval([]).value)


@pytest.mark.parametrize(("count", "quantile"), [(21, 2.0860), (22, 2.0796), (31, 2.0423)])
def test_many_runs(count: int, quantile: float) -> None:
    """The table and what follows it agree with published quantiles of t(20), t(21), t(30)."""
    values = [float(n % 2) for n in range(count)]
    found = mean_interval(values)
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    assert (found.high - mean) * math.sqrt(count) / spread == pytest.approx(quantile, abs=2e-3)
