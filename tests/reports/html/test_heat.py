"""rl4bio.reports.html.heat: shares of each step as shades."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from rl4bio.reports.html.heat import MOST_COLUMNS, heat_chart, shown_steps


def test_the_shades_of_a_step_are_the_shares_of_its_values() -> None:
    """Four of five values at 0: 0.15 + 0.85 * 4/5 = 0.83; one at 1: 0.15 + 0.85 / 5 = 0.32."""
    figure = heat_chart("Reward", {1: [0.0, 0.0, 0.0, 0.0, 1.0], 2: [1.0, 1.0]})
    assert re.findall(r'fill-opacity="([0-9.]+)"', figure) == ["0.83", "0.32", "1.00"]
    root = ElementTree.fromstring(figure)
    rects = [e for e in root.iter() if e.tag == "rect"]
    low, high, second = (float(e.get("y", "")) for e in rects)
    assert high < low
    assert second == high
    assert float(rects[0].get("x", "")) < float(rects[2].get("x", ""))
    assert "step 1: median 0" in figure


def test_nothing_where_nothing_is_spread() -> None:
    assert heat_chart("Reward", {}) == ""
    assert heat_chart("Reward", {1: [0.0, 1.0]}) == ""
    assert heat_chart("Reward", {1: [1.0], 2: [1.0]}) == ""


def test_long_runs_show_some_steps_with_the_first_and_the_last() -> None:
    assert shown_steps([3, 4]) == [3, 4]
    steps = shown_steps(list(range(1, 1001)))
    assert len(steps) == MOST_COLUMNS
    assert (steps[0], steps[-1]) == (1, 1000)
    assert steps == sorted(set(steps))
