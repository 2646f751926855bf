"""How a number is spread over time: for each step the share of items in each range, as shades."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.reports.html.charts import HEIGHT, STEPS, WIDTH, Frame, axes, place
from rl4bio.reports.html.page import text
from rl4bio.reports.html.ticks import exponent_of, nice_ticks, number_text, power_text

STYLE = """
.shade { fill: var(--c0); stroke: none; }
.middle { stroke: var(--c1); stroke-width: 2; fill: none; }
"""
MOST_COLUMNS = 40
"""Steps that are drawn; of more of them some, evenly."""
RANGES = 16


def shown_steps(steps: Sequence[int]) -> list[int]:
    """The steps that a picture has room for, the first and the last among them."""
    if len(steps) <= MOST_COLUMNS:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, MOST_COLUMNS).round().astype(int)
    return [steps[n] for n in places]


def heat_chart(title: str, values: Mapping[int, Sequence[float]]) -> str:
    """A figure: the darker, the larger the share of the step's items; the line is the median.

    Args:
        title: of the number.
        values: step -> its finite values; by rising step.

    Returns:
        "" where fewer than two steps have a value, or all values are one.
    """
    known = {step: np.asarray(own, dtype=np.float64) for step, own in values.items() if len(own)}
    every = np.concatenate(list(known.values())) if known else np.zeros(1)
    if len(known) < 2 or every.min() == every.max():
        return ""
    ticks = nice_ticks(float(every.min()), float(every.max()))
    steps = list(known)
    half = min(b - a for a, b in itertools.pairwise(steps)) / 2
    frame = Frame(left=steps[0] - half, right=steps[-1] + half, low=ticks[0], high=ticks[-1])
    exponent = exponent_of(max(abs(ticks[0]), abs(ticks[-1])))
    ends = np.linspace(ticks[0], ticks[-1], RANGES + 1)
    edges = [steps[0] - half, *((a + b) / 2 for a, b in itertools.pairwise(steps))]
    edges.append(steps[-1] + half)
    shares = np.array([np.histogram(own, ends)[0] / len(own) for own in known.values()])
    shades = "".join(
        _column(own / shares.max(), ends, edges[n], edges[n + 1], frame)
        for n, own in enumerate(shares)
    )
    line = "L".join(
        f"{place(frame.x(step))},{place(frame.y(float(np.median(own))))}"
        for step, own in known.items()
    )
    unit = f"×{power_text(exponent)} " if exponent else ""
    return (
        f'<figure class="chart"><figcaption><strong>{text(title)}</strong> '
        f'<span class="unit">{unit}share of completions, line: median</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{text(_description(title, known))}</title>"
        f'{axes(frame, ticks, exponent, STEPS)}{shades}<path class="middle" d="M{line}"/>'
        "</svg></figure>"
    )


def _column(
    shares: NDArray[np.float64],
    ends: NDArray[np.float64],
    left: float,
    right: float,
    frame: Frame,
) -> str:
    """One step, a rectangle for each range that has an item; shares of the largest one."""
    x, width = frame.x(left), frame.x(right) - frame.x(left)
    return "".join(
        f'<rect class="shade" x="{place(x)}" y="{place(frame.y(ends[n + 1]))}" '
        f'width="{place(width)}" height="{place(frame.y(ends[n]) - frame.y(ends[n + 1]))}" '
        f'fill-opacity="{0.15 + 0.85 * share:.2f}"/>'
        for n, share in enumerate(shares)
        if share
    )


def _description(title: str, values: dict[int, NDArray[np.float64]]) -> str:
    first, last = next(iter(values)), next(reversed(values))
    said = (
        f"step {step}: median {number_text(float(np.median(values[step])))}, nine in ten between "
        f"{number_text(float(np.quantile(values[step], 0.05)))} and "
        f"{number_text(float(np.quantile(values[step], 0.95)))}"
        for step in (first, last)
    )
    return f"{title} of completions over training steps. {'; '.join(said)}."
