"""rl4bio.reports.html.charts: places of points by hand, gaps, ticks, thinning."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from rl4bio.reports.html.charts import (
    Chart,
    Point,
    Series,
    line_chart,
    smoothed,
    smoothing_window,
)
from rl4bio.reports.html.ticks import nice_ticks, number_text


def chart(*series: list[Point], floor: float | None = None, smooth: bool = False) -> str:
    lines = [Series(name=f"line {k}", points=s, smooth=smooth) for k, s in enumerate(series)]
    return line_chart(Chart(title="Reward", unit="points", series=lines, floor=floor), 7)


def paths(figure: str, style: str) -> list[str]:
    return re.findall(rf'<path class="{style}" d="([^"]*)"/>', figure)


def texts(figure: str, style: str) -> list[str]:
    return re.findall(rf'<text class="{style}"[^>]*>([^<]*)</text>', figure)


def test_points_lie_where_the_axes_say() -> None:
    # The plot area is x 50 to 380, y 182 (bottom) to 12. Steps 1, 2, 3 lie at 50, 215, 380; the
    # axis runs from 0 to 1, so 0, 0.5 and 1 lie at 182, 97 and 12.
    figure = chart([(1, 0.0), (2, 0.5), (3, 1.0)])
    assert paths(figure, "line s0") == ["M50,182L215,97L380,12"]
    assert texts(figure, "y") == ["0.0", "0.5", "1.0"]
    assert texts(figure, "x") == ["1", "2", "3", "training step"]
    assert figure.count("<circle") == 3
    assert "<title>step 2: 0.5</title>" in figure


def test_an_axis_with_a_floor_starts_there() -> None:
    # 0 to 4: ticks 0, 1, 2, 3, 4; 3 lies at 182 - 170 * 3/4 = 54.5.
    assert paths(chart([(1, 3.0), (2, 4.0)], floor=0.0), "line s0") == ["M50,54.5L380,12"]
    # Without it the ticks are 3.0, 3.5, 4.0.
    assert paths(chart([(1, 3.0), (2, 4.0)]), "line s0") == ["M50,182L380,12"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_line_breaks_at_a_value_that_is_not_finite(bad: float) -> None:
    # Steps 1..4 lie at 50, 160, 270, 380.
    figure = chart([(1, 0.0), (2, bad), (3, 1.0), (4, 0.5)])
    assert paths(figure, "line s0") == ["M50,182M270,12L380,97"]
    assert figure.count("<circle") == 3
    assert "1 without a number" in figure
    assert "nan" not in figure
    assert "inf" not in figure


def test_a_point_between_gaps_is_a_dot_even_in_a_long_line() -> None:
    points = [(float(k), 1.0 if k != 50 else 0.0) for k in range(100)]
    points[49], points[51] = (49.0, math.nan), (51.0, math.nan)
    figure = chart(points)
    assert re.findall(r"<title>(step[^<]*)</title>", figure) == ["step 50: 0"]


def test_a_single_step_is_one_dot_in_the_middle() -> None:
    # A flat 2 widens to 1.8..2.2 with 2 in the middle: y = (182 + 12) / 2 = 97, x = 215.
    figure = chart([(9, 2.0)], smooth=True)
    assert '<circle class="dot s0" cx="215" cy="97"' in figure
    assert texts(figure, "x") == ["9", "training step"]


def test_smoothing_means_over_the_neighbours_that_exist() -> None:
    # (1+2)/2, (1+2+6)/3, (2+6)/2
    assert smoothed([(1, 1.0), (2, 2.0), (3, 6.0)], 3) == [(1, 1.5), (2, 3.0), (3, 4.0)]
    means = [value for _, value in smoothed([(1, 1.0), (2, math.nan), (3, 3.0)], 3)]
    assert means[0] == 1.0
    assert math.isnan(means[1])
    assert means[2] == 3.0


def test_the_smoothing_window_is_odd_and_grows_with_the_line() -> None:
    assert [smoothing_window(n) for n in (1, 4, 5, 50, 100, 500)] == [1, 1, 5, 5, 11, 51]


def test_a_smoothed_line_leaves_the_points_faint_and_a_constant_as_it_is() -> None:
    figure = chart([(float(k), 3.0) for k in range(6)], smooth=True)
    assert paths(figure, "line s0") == paths(figure, "line s0 faint")
    assert len(paths(figure, "line s0")) == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.21, 0.9, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.0, 17.0, [-5.0, 0.0, 5.0, 10.0, 15.0, 20.0]),
        (0.0, 0.0, [0.0, 0.5, 1.0]),
        (2.0, 2.0, [1.8, 1.9, 2.0, 2.1, 2.2]),
        (0.0, 3e-7, [0.0, 1e-7, 2e-7, 3e-7]),
    ],
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("high", [1 + 1e-16, 1 + 1e-12, 1.0001, 7.0, 1e30])
def test_there_are_always_a_few_ticks(high: float) -> None:
    ticks = nice_ticks(1.0, high)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= 1.0
    assert ticks[-1] >= high or ticks[-1] == pytest.approx(high)


def test_step_ticks_are_whole_numbers() -> None:
    assert nice_ticks(1, 3, count=6, whole=True) == [1, 2, 3]


def test_very_small_and_large_values_move_their_power_of_ten_to_the_unit() -> None:
    small = chart([(1, 0.0), (2, 4e-6)])
    assert texts(small, "y") == ["0", "1", "2", "3", "4"]
    assert '<span class="unit">×10⁻⁶ points</span>' in small
    assert '<span class="unit">×10³ points</span>' in chart([(1, 0.0), (2, 2e5)])
    assert '<span class="unit">points</span>' in chart([(1, 0.0), (2, 2e4)])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.80123, "0.801"),
        (-0.00383, "−0.00383"),
        (0.0, "0"),
        (-0.0, "0"),
        (33.333, "33.3"),
        (999.7, "1,000"),
        (15233.2, "15,233"),
        (123456.0, "1.23×10⁵"),
        (4.21e-6, "4.21×10⁻⁶"),
        (math.nan, "–"),
    ],
)
def test_numbers_for_people(value: float, shown: str) -> None:
    assert number_text(value) == shown


def test_a_long_line_keeps_its_extremes_in_few_points() -> None:
    points = [(float(k), math.sin(k)) for k in range(20_000)]
    points[12_345] = (12_345.0, 10.0)
    figure = chart(points)
    (line,) = paths(figure, "line s0")
    # Ticks -5..10, so the spike lies at the top; x = 50 + 330 * 12345 / 19999 = 253.7.
    assert "253.7,12L" in line
    assert 700 <= line.count("L") <= 800


def test_several_lines_have_a_legend_and_their_own_style() -> None:
    figure = chart([(1, 1.0), (2, 2.0)], [(1, 3.0), (2, 4.0)])
    assert len(paths(figure, "line s0")) == len(paths(figure, "line s1")) == 2  # line and legend
    assert "line 0</li>" in figure
    assert "line 1</li>" in figure
    assert "legend" not in chart([(1, 1.0)])


def test_the_figure_is_well_formed_and_named_for_screen_readers() -> None:
    root = ElementTree.fromstring(chart([(1, 0.25), (4, 0.75)]))
    svg = root.find("svg")
    assert svg is not None
    assert svg.get("role") == "img"
    title = svg[0]
    assert title.get("id") == svg.get("aria-labelledby") == "chart-7"
    assert title.text == (
        "Reward (points) over training steps. 0.25 at step 1, 0.75 at step 4, "
        "between 0.25 and 0.75."
    )


def test_another_axis_has_its_name_and_ticks_between_whole_numbers() -> None:
    points = [(0.0, 1.0), (0.5, 2.0), (1.0, 1.0)]
    series = [Series(name="prior", points=points, smooth=False)]
    figure = line_chart(
        Chart(title="QED", unit="%", series=series, axis="QED", description="in words"), 1
    )
    # Six intervals over [0, 1]: 1/6 rounds up to steps of 0.2.
    assert texts(figure, "x") == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "QED"]
    assert '<title id="chart-1">in words</title>' in figure
