"""Values with their intervals on one line each: which model is where, at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl4bio.reports.html.charts import place
from rl4bio.reports.html.page import text
from rl4bio.reports.html.ticks import nice_ticks, number_text, tick_text
from rl4bio.statistics.bootstrap import Estimate

STYLE = """
.dots { margin: 1rem 0; max-width: 40rem; } .dots svg { width: 100%; height: auto; display: block; }
.dots text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.dots .y { text-anchor: end; } .dots .x { text-anchor: middle; fill: var(--muted); }
.dots .grid { stroke: var(--grid); fill: none; }
.dots .whisker { stroke: var(--c0); stroke-width: 2; fill: none; }
.dots .point { fill: var(--c0); }
.dots .line { stroke: var(--c1); stroke-width: 1.5; stroke-dasharray: 5 4; fill: none; }
"""
WIDTH, ROW = 420, 30
LEFT, RIGHT, TOP = 130, 400, 12
_LONGEST = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A row of the plot."""

    name: str
    value: Estimate
    """Its interval may be NaN."""


def dot_plot(title: str, dots: Sequence[Dot], *, line: Dot | None = None) -> str:
    """A figure; "" where no value is finite.

    Args:
        title: of the values, with their unit.
        dots: from the top.
        line: a value that the others are held against, drawn across all rows.
    """
    shown = [dot for dot in dots if math.isfinite(dot.value.value)]
    if not shown:
        return ""
    every = [*shown, *([line] if line else [])]
    reached = [v for d in every for v in (d.value.value, d.value.low, d.value.high)]
    known = [value for value in reached if math.isfinite(value)]
    ticks = nice_ticks(min(known), max(known))
    low, width = ticks[0], ticks[-1] - ticks[0]

    def x(value: float) -> str:
        return place(LEFT + (value - low) / width * (RIGHT - LEFT))

    bottom = TOP + ROW * len(shown)
    spacing = ticks[1] - ticks[0]
    grid = "".join(f"M{x(tick)},{TOP}V{bottom}" for tick in ticks)
    labels = "".join(
        f'<text class="x" x="{x(tick)}" y="{bottom + 17}">{tick_text(tick, spacing)}</text>'
        for tick in ticks
    )
    across = f"M{x(line.value.value)},{TOP}V{bottom}" if line else ""
    rows = "".join(_row(dot, TOP + ROW * n + ROW // 2, x) for n, dot in enumerate(shown))
    said = "; ".join(_words(dot) for dot in every)
    note = "" if line is None else f" Dashed: {text(line.name)}."
    return (
        f'<figure class="dots"><svg viewBox="0 0 {WIDTH} {bottom + 24}" role="img">'
        f"<title>{text(f'{title}: {said}')}</title>"
        f'<path class="grid" d="{grid}"/>{labels}<path class="line" d="{across}"/>{rows}</svg>'
        f'<figcaption class="note">{text(title)}, with 95 % intervals.{note}</figcaption></figure>'
    )


def _row(dot: Dot, y: int, at: Callable[[float], str]) -> str:
    whisker = ""
    if math.isfinite(dot.value.low) and math.isfinite(dot.value.high):
        whisker = f'<path class="whisker" d="M{at(dot.value.low)},{y}H{at(dot.value.high)}"/>'
    name = dot.name if len(dot.name) <= _LONGEST else f"{dot.name[: _LONGEST - 1]}…"
    return (
        f'<text class="y" x="{LEFT - 10}" y="{y + 4}">{text(name)}</text>{whisker}'
        f'<circle class="point" cx="{at(dot.value.value)}" cy="{y}" r="5"/>'
    )


def _words(dot: Dot) -> str:
    return f"{dot.name} {number_text(dot.value.value)}"
