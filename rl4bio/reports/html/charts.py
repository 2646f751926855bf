"""Line charts, over training steps or another axis, as inline SVG that loads and runs nothing.

Colours are those of Okabe and Ito (2008) that are dark enough on white; every further line of a
chart also has its own dashes, so that nothing hangs on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.reports.html.page import text
from rl4bio.reports.html.ticks import exponent_of, nice_ticks, number_text, power_text, tick_text

Point = tuple[float, float]
"""A step and its value; a value that is not finite is a gap in the line."""

STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr));
  gap: 1.2rem 1.5rem; }
.chart { margin: 0; min-width: 0; } .chart svg { width: 100%; height: auto; display: block; }
.chart figcaption { font-size: .95rem; overflow-wrap: anywhere; }
.unit { color: var(--muted); font-size: .85rem; font-weight: 400; }
.chart text { font: 13px system-ui, sans-serif; fill: var(--muted); }
.y { text-anchor: end; } .x { text-anchor: middle; }
.grid { stroke: var(--grid); fill: none; } .axis { stroke: var(--edge); fill: none; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.faint { stroke-width: 1; opacity: .4; } circle.faint { opacity: .6; }
.dot { stroke: none; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); stroke-dasharray: 7 4; }
.s2 { stroke: var(--c2); stroke-dasharray: 2 4; }
.s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.s4 { stroke: var(--c4); stroke-dasharray: 12 4; }
.dot.s0 { fill: var(--c0); } .dot.s1 { fill: var(--c1); } .dot.s2 { fill: var(--c2); }
.dot.s3 { fill: var(--c3); } .dot.s4 { fill: var(--c4); }
.legend { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem;
  font-size: .85rem; }
.chart .legend svg { display: inline-block; width: 2.2rem; vertical-align: middle; }
@media print { .chart { break-inside: avoid; }
  .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
"""

STEPS = "training step"

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 50, 380, 12, 182
"""The plot area, in units of the view box."""

_STYLES = 5
_SHORTEST_SMOOTHED = 5
_MOST_DOTTED = 30
_MOST_POINTS = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    """By rising step."""
    smooth: bool = True
    """Draw the points faintly and their moving mean on top."""
    style: int | None = None
    """Number of its colour and dashes, which lines of one name share; None = its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines of one quantity."""

    title: str
    unit: str
    series: Sequence[Series]
    floor: float | None = None
    """A value that the axis always shows; None = the data alone decide."""
    axis: str = STEPS
    """What runs along the horizontal axis; steps are whole numbers."""
    description: str = ""
    """The chart in words; by default made from the points, which then are steps."""


def smoothing_window(num_points: int) -> int:
    """Points in the moving mean: a tenth of the line, odd, at least 5; 1 (none) for short lines."""
    return max(5, num_points // 10 | 1) if num_points >= _SHORTEST_SMOOTHED else 1


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """The centred moving mean over the points that exist; a gap stays a gap.

    Args:
        points: steps and values.
        window: points in the mean, odd; fewer are taken at both ends.
    """
    half = window // 2
    means = []
    for position, (step, value) in enumerate(points):
        near = [v for _, v in points[max(0, position - half) : position + half + 1]]
        known = [v for v in near if math.isfinite(v)]
        means.append((step, sum(known) / len(known) if math.isfinite(value) else math.nan))
    return means


def line_chart(chart: Chart, number: int) -> str:
    """A figure with caption, axes, lines and, for several lines, a legend.

    Args:
        chart: has at least one point with a finite value.
        number: of the chart on its page; makes its identifiers unique.
    """
    values = [v for s in chart.series for _, v in s.points if math.isfinite(v)]
    steps = [step for s in chart.series for step, _ in s.points]
    reached = values if chart.floor is None else [*values, chart.floor]
    ticks = nice_ticks(min(reached), max(reached))
    frame = Frame(left=min(steps), right=max(steps), low=ticks[0], high=ticks[-1])
    exponent = exponent_of(max(abs(ticks[0]), abs(ticks[-1])))
    unit = " ".join(
        part for part in (f"×{power_text(exponent)}" if exponent else "", chart.unit) if part
    )
    styles = _styles(chart.series)
    lines = "".join(_lines(s, k, frame) for s, k in zip(chart.series, styles, strict=True))
    return (
        f'<figure class="chart"><figcaption><strong>{text(chart.title)}</strong> '
        f'<span class="unit">{text(unit)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="chart-{number}">'
        f'<title id="chart-{number}">{text(_description(chart))}</title>'
        f"{axes(frame, ticks, exponent, chart.axis)}{lines}</svg>{_legend(chart.series)}</figure>"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """From steps (or another horizontal quantity) and values to places in the view box."""

    left: float
    right: float
    low: float
    high: float

    def x(self, step: float) -> float:
        """Place of a step from the left."""
        width = self.right - self.left
        share = (step - self.left) / width if width else 0.5
        return LEFT + share * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        """Place of a value from the top."""
        return BOTTOM - (value - self.low) / (self.high - self.low) * (BOTTOM - TOP)


def axes(frame: Frame, ticks: Sequence[float], exponent: int, axis: str) -> str:
    """Grid lines, axis and labels.

    Args:
        frame: of the chart; its lowest and highest value are the outer ticks.
        ticks: of the vertical axis, rising, at least two.
        exponent: power of ten that is taken out of their labels.
        axis: title of the horizontal axis.
    """
    scale = 10.0**exponent
    spacing = (ticks[1] - ticks[0]) / scale
    heights = [frame.y(tick) for tick in ticks]
    grid = "".join(f"M{LEFT},{place(y)}H{RIGHT}" for y in heights)
    labels = "".join(
        f'<text class="y" x="{LEFT - 6}" y="{place(y + 4)}">'
        f"{tick_text(tick / scale, spacing)}</text>"
        for tick, y in zip(ticks, heights, strict=True)
    )
    around = nice_ticks(frame.left, frame.right, count=6, whole=axis == STEPS)
    apart = around[1] - around[0]
    steps = [t for t in around if frame.left <= t <= frame.right] or [frame.left]
    marks = "".join(f"M{place(frame.x(t))},{BOTTOM}v4" for t in steps)
    labels += "".join(
        f'<text class="x" x="{place(frame.x(t))}" y="{BOTTOM + 17}">{tick_text(t, apart)}</text>'
        for t in steps
    )
    return (
        f'<path class="grid" d="{grid}"/><path class="axis" d="M{LEFT},{BOTTOM}H{RIGHT}{marks}"/>'
        f'{labels}<text class="x" x="{(LEFT + RIGHT) // 2}" y="{HEIGHT - 5}">{text(axis)}</text>'
    )


def _lines(series: Series, style: int, frame: Frame) -> str:
    window = smoothing_window(len(series.points)) if series.smooth else 1
    raw = _thinned(series.points)
    faint = " faint" if window > 1 else ""
    drawn = _path(raw, f"line s{style}{faint}", frame) + _dots(raw, f"dot s{style}{faint}", frame)
    if window > 1:
        drawn += _path(_thinned(smoothed(series.points, window)), f"line s{style}", frame)
    return drawn


def _path(points: Sequence[Point], style: str, frame: Frame) -> str:
    """One path; the pen is lifted over gaps."""
    data, pen = [], "M"
    for step, value in points:
        if math.isfinite(value):
            data.append(f"{pen}{place(frame.x(step))},{place(frame.y(value))}")
            pen = "L"
        else:
            pen = "M"
    return f'<path class="{style}" d="{"".join(data)}"/>' if data else ""


def _dots(points: Sequence[Point], style: str, frame: Frame) -> str:
    """A dot on every point of a short line, and on points between gaps, which have no line."""
    known = [math.isfinite(value) for _, value in points]
    padded = [False, *known, False]
    dots = []
    for k, (step, value) in enumerate(points):
        alone = not padded[k] and not padded[k + 2]
        if known[k] and (alone or len(points) <= _MOST_DOTTED):
            dots.append(
                f'<circle class="{style}" cx="{place(frame.x(step))}" '
                f'cy="{place(frame.y(value))}" r="2.5">'
                f"<title>step {step:.0f}: {number_text(value)}</title></circle>"
            )
    return "".join(dots)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most about _MOST_POINTS points: the lowest and the highest of each stretch.

    A gap shorter than a stretch, which is less than a pixel wide, closes.
    """
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(2 * len(points) / _MOST_POINTS)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        known = [point for point in stretch if math.isfinite(point[1])]
        ends = {min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])} if known else set()
        kept += sorted(ends) or [stretch[0]]
    return kept


def _styles(series: Sequence[Series]) -> list[int]:
    own = (k if s.style is None else s.style for k, s in enumerate(series))
    return [style % _STYLES for style in own]


def _legend(series: Sequence[Series]) -> str:
    names = dict(zip((s.name for s in series), _styles(series), strict=True))
    if len(names) < 2:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 36 8" aria-hidden="true"><path class="line s{style}" '
        f'd="M1,4H35"/></svg> {text(name)}</li>'
        for name, style in names.items()
    )
    return f'<ul class="legend">{items}</ul>'


def _description(chart: Chart) -> str:
    """The chart in words, for those who cannot see it."""
    if chart.description:
        return chart.description
    parts = []
    for series in chart.series:
        known = [(step, value) for step, value in series.points if math.isfinite(value)]
        if not known:
            continue
        values = [value for _, value in known]
        name = f"{series.name}: " if len(chart.series) > 1 else ""
        missing = len(series.points) - len(known)
        parts.append(
            f"{name}{number_text(values[0])} at step {known[0][0]:.0f}, "
            f"{number_text(values[-1])} at step {known[-1][0]:.0f}, "
            f"between {number_text(min(values))} and {number_text(max(values))}"
            + (f", {missing} without a number" if missing else "")
        )
    unit = f" ({chart.unit})" if chart.unit else ""
    return f"{chart.title}{unit} over training steps. {'; '.join(parts)}."


def place(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")
