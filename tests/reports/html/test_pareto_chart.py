"""The Pareto chart: places by hand, what is listed, what is thinned, hostile text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from rl4bio.reports.html.pareto_chart import MOST_LISTED, MOST_POINTS, pareto_chart, pareto_section
from rl4bio.statistics.quantities import Tradeoff, tradeoff


def found(a: list[float], b: list[float], *, refused: tuple[int, ...] = ()) -> Tradeoff:
    """a is better where it is high, b where it is low."""
    scores = {
        "raw_p.a_score": [0.0 if n in refused else 0.5 + v / 1e9 for n, v in enumerate(a)],
        "raw_p.b_score": [0.5 - v / 1e9 for v in b],
    }
    pair = tradeoff({"raw_p.a": a, "raw_p.b": b, **scores})
    assert pair is not None
    return pair


def flags(count: int, *rows: int) -> NDArray[np.bool_]:
    marked = np.zeros(count, dtype=np.bool_)
    marked[list(rows)] = True
    return marked


def path(figure: str, style: str) -> str:
    match = re.search(rf'<path class="{style}" d="([^"]*)"/>', figure.partition("<ul")[0])
    return match[1] if match else ""


def test_points_and_front_lie_where_the_axes_say() -> None:
    # Across b from 0 to 4 at x 50 to 380, upward a from 0 to 4 at y 182 to 12: a unit is 82.5 wide
    # and 42.5 high. The front falls from (4, 4) over (2, 2) to (0, 0); (1, 4) is behind it.
    pair = found([4, 2, 0, 1], [4, 2, 0, 4])
    figure = pareto_chart(pair, {"first": flags(4, 3), "last": flags(4, 0)}, rest="others")
    assert path(figure, "p-first") == "M380,139.5m0,-3l3,3l-3,3l-3,-3z"
    assert path(figure, "p-last") == "M380,12m0,-3l3,5.2h-6z"
    assert path(figure, "p-rest") == "M215,97h0M50,182h0"
    # Down first, then to the better b: what lies above and right of the steps is dominated.
    assert path(figure, "p-front") == "M380,12V97H215V182H50"
    assert figure.count('class="p-member"') == 3
    assert "b, lower is better" in figure
    assert "upward, higher is better" in figure


def test_the_picture_in_words() -> None:
    pair = found([4, 2, 0, 1], [4, 2, 0, 4])
    figure = pareto_chart(pair, {"first": flags(4, 1, 3), "last": flags(4)}, rest="others")
    root = ElementTree.fromstring(figure.replace("–", "-"))
    svg = root.find("svg")
    assert svg is not None
    title = svg.find("title")
    assert title is not None
    assert svg.get("aria-labelledby") == title.get("id")
    assert title.text == (
        "a (higher is better) against b (lower is better) of 4 molecules; "
        "first: medians 1.5 and 3; last: medians - and -; "
        "the front has 3 molecules, from a 4 and b 4 to a 0 and b 0."
    )
    assert [item.text or "".join(item.itertext()) for item in root.iter("li")] == [
        " others",
        " first",
        " last",
    ]


def test_the_section_lists_the_front_best_first() -> None:
    pair = found([1, 4, 9, 2], [1, 4, 0, 2], refused=(2,))
    html = pareto_section(
        pair,
        {"first": flags(4, 0)},
        smiles=["CC", "CO", "<b>", "CN"],
        listed={"step": ["1", "7", "8", "9"]},
        rest="others",
    )
    assert "3 molecules on the front" in html
    assert "1 of 4 molecules cannot be on it" in html
    rows = re.findall(r"<tr><th scope=\"row\">(\d+)</th>(.*?)</tr>", html)
    assert [re.findall(r"<td>(.*?)</td>", row) for _, row in rows] == [
        ["CO", "4", "4", "7"],
        ["CN", "2", "2", "9"],
        ["CC", "1", "1", "1"],
    ]
    assert "<b>" not in html


def test_many_molecules_are_thinned_and_the_front_is_whole() -> None:
    count = 3 * MOST_POINTS
    # The first 70 are a front; every other molecule is worse than they are.
    a = [float(n) for n in range(70)] + [-1.0 - n for n in range(count - 70)]
    b = [float(n) for n in range(70)] + [100.0 + n for n in range(count - 70)]
    pair = found(a, b)
    sets = {"first": flags(count, *range(100, 200)), "last": flags(count)}
    figure = pareto_chart(pair, sets, rest="others")
    assert figure.count('class="p-member"') == 70
    assert path(figure, "p-first").count("M") == 100
    assert path(figure, "p-rest").count("M") == MOST_POINTS - 100
    html = pareto_section(pair, sets, smiles=["C"] * count, listed={}, rest="others")
    assert html.count("<tr>") == MOST_LISTED + 1
    assert f"The table shows {MOST_LISTED} of 70." in html


def test_without_others_the_legend_has_none() -> None:
    pair = found([4, 2, 0], [4, 2, 0])
    figure = pareto_chart(pair, {"base": flags(3, 0, 1, 2)}, rest="")
    assert "p-rest" not in figure
    assert figure.count("<li>") == 1
