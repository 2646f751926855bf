"""rl4bio.reports.html.dot_plot: places of dots, intervals and the line."""

from __future__ import annotations

import math
import re

from rl4bio.reports.html.dot_plot import LEFT, RIGHT, Dot, dot_plot
from rl4bio.statistics.bootstrap import Estimate


def dot(name: str, value: float, low: float = math.nan, high: float = math.nan) -> Dot:
    return Dot(name=name, value=Estimate(value=value, low=low, high=high))


def test_places_by_hand() -> None:
    """The axis runs from 0 to 100: 50 is in its middle, 25 a quarter from the left."""
    middle = (LEFT + RIGHT) / 2
    quarter = LEFT + (RIGHT - LEFT) / 4
    found = dot_plot("Accuracy, %", [dot("base", 50, 0, 100), dot("tuned", 25)])
    assert [float(x) for x in re.findall(r'cx="([\d.]+)"', found)] == [middle, quarter]
    assert f'class="whisker" d="M{LEFT},27H{RIGHT}"' in found
    assert found.count("whisker") == 1
    assert "base 50; tuned 25" in found


def test_a_line_to_be_held_against() -> None:
    found = dot_plot("x", [dot("a", 0.0), dot("b", 1.0)], line=dot("always <yes>", 0.5))
    assert f'class="line" d="M{(LEFT + RIGHT) / 2:g},12V72"' in found
    assert "Dashed: always &lt;yes&gt;." in found


def test_nothing_to_show() -> None:
    assert dot_plot("x", [dot("a", math.nan)]) == ""
