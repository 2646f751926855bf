"""rl4bio.reports.html.distributions: densities by hand and by their integral."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.reports.html.charts import line_chart
from rl4bio.reports.html.distributions import density, distribution_chart, has_values


def test_a_density_by_hand() -> None:
    # Two values at -1 and 1: sd 1, IQR 1 -> 1 / 1.34 is the smaller; h = 0.9 * 0.7463 * 2^-0.2.
    h = 0.9 / 1.34 * 2**-0.2
    places = np.array([0.0, 0.01, 1.0])
    kernel = math.exp(-0.5 / h**2) / (h * math.sqrt(2 * math.pi))
    assert density(np.array([-1.0, 1.0]), places)[0] == pytest.approx(kernel)


def test_the_area_under_a_density_is_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.5, 300)
    places = np.linspace(0.0, 6.0, 601)
    assert density(values, places).sum() * 0.01 == pytest.approx(1.0, abs=1e-6)
    assert places[density(values, places).argmax()] == pytest.approx(3.0, abs=0.2)


def test_equal_values_are_a_narrow_peak() -> None:
    chart = distribution_chart("QED", {"tuned": [0.9] * 50})
    (series,) = chart.series
    peak = max(series.points, key=lambda point: point[1])
    assert peak[0] == pytest.approx(0.9)
    assert all(math.isfinite(value) for _, value in series.points)
    assert line_chart(chart, 1)


def test_sets_share_an_axis_and_empty_ones_are_left_out() -> None:
    rng = np.random.default_rng(2)
    sets = {"base": rng.normal(0, 1, 200), "tuned": rng.normal(5, 1, 200), "none": [math.nan]}
    chart = distribution_chart("TPSA", sets, unit="Å²")  # type: ignore[arg-type]
    assert [series.name for series in chart.series] == ["base", "tuned"]
    assert len({tuple(step for step, _ in series.points) for series in chart.series}) == 1
    assert chart.axis == "TPSA (Å²)"
    assert "base: median" in line_chart(chart, 1)
    assert has_values(sets)  # type: ignore[arg-type]
    assert not has_values({"none": [math.nan], "empty": []})
