"""Several runs beside each other: what differs, how each ended, curves, paired tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl4bio.reports.html import charts
from rl4bio.reports.html.charts import Chart, Series, line_chart
from rl4bio.reports.html.page import html, html_page
from rl4bio.reports.html.ticks import number_text
from rl4bio.reports.run.known_metrics import KL, LOSS, ROLLOUT, Metric
from rl4bio.reports.run.metrics import Row, points, run_metrics
from rl4bio.statistics.bootstrap import Estimate
from rl4bio.statistics.seeds import mean_interval

NOTE = (
    "Accuracy, evaluated reward, valid and hits are of `rl4bio evaluate`, the other figures means "
    "over the last steps of training. Of several seeds they are means over the "
    "runs, in brackets the 95 % interval of Student's t: of two or three seeds it is wide, and it "
    "should be."
)
_REWARD = Metric(key="reward/total_mean", title="Total reward", meaning="", floor=None)
_VALIDATION = Metric(key="val/reward_mean", title="Validation reward", meaning="", floor=None)
COLUMNS = (_VALIDATION, _REWARD, *reversed(LOSS), KL, *ROLLOUT[:2])
"""Metrics of the table, each shown where a run has logged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A finished run."""

    name: str
    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: list[Row]
    """Of metrics.csv."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Runs of one configuration, that differ in their seed alone."""

    name: str
    runs: list[RunRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two runs on the same items."""

    first: str
    second: str
    items: int
    part: str
    counts: str
    """Who is right where, in words."""
    p_value: float
    """Exact McNemar test, two-sided; of open questions the sign test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is known of some runs beside each other."""

    settings: list[Setting]
    differences: dict[str, list[str]] = field(default_factory=dict)
    """Key -> its value in each setting."""
    accuracy: dict[str, list[float]] = field(default_factory=dict)
    """Setting -> accuracy of each of its evaluated runs, in percent."""
    molecules: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Column -> setting -> the figure of each of its runs whose molecules were evaluated."""
    paired: list[Paired] = field(default_factory=list)


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """Header and a row a setting, as text; columns that no run has are left out."""
    runs = [run for setting in comparison.settings for run in setting.runs]
    shown = [m for m in COLUMNS if any(_last(run, m) is not None for run in runs)]
    if _REWARD in shown:  # the loss of a policy gradient says nothing of how good it is
        shown = [metric for metric in shown if metric not in LOSS]
    evaluated = {"accuracy %": comparison.accuracy, **comparison.molecules}
    evaluated = {title: of for title, of in evaluated.items() if any(of.values())}
    rows = [["setting", "runs", *evaluated]]
    rows[0] += [f"{m.title.lower().replace('kl', 'KL')}{f' ({m.unit})' * bool(m.unit)}"
                for m in shown]  # fmt: skip
    for setting in comparison.settings:
        cells = [setting.name, str(len(setting.runs))]
        for title, of in evaluated.items():
            average = _share if title.endswith("%") else mean_interval
            cells.append(interval(average(of.get(setting.name, []))))
        for metric in shown:
            known = [v for run in setting.runs if (v := _last(run, metric)) is not None]
            mean = _share if metric.unit == "%" else mean_interval
            cells.append(interval(mean([v * metric.scale for v in known])))
        rows.append(cells)
    return rows


def _last(run: RunRecord, metric: Metric) -> float | None:
    value = (run.summary.get("last") or {}).get(metric.key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _share(percents: Sequence[float]) -> Estimate:
    """The mean of shares, whose interval ends where shares do."""
    found = mean_interval(percents)
    return Estimate(
        value=found.value,
        low=found.low if math.isnan(found.low) else max(0.0, found.low),
        high=found.high if math.isnan(found.high) else min(100.0, found.high),
    )


def interval(found: Estimate) -> str:
    """A mean and its interval; the mean alone of one run, a dash of none."""
    if math.isnan(found.low):
        return number_text(found.value)
    return f"{number_text(found.value)} [{number_text(found.low)}, {number_text(found.high)}]"


def paired_lines(paired: Sequence[Paired]) -> list[str]:
    """Each paired test in one line."""
    return [
        f"{one.first} and {one.second}{f', {one.part}' * bool(one.part)}: the same "
        f"{one.items} items; {one.counts}; p = {one.p_value:.3f}"
        for one in paired
    ]


def comparison_charts(settings: Sequence[Setting]) -> list[Chart]:
    """One chart a metric, with a line for each run; runs of one setting look alike."""
    metrics: dict[str, Metric] = {}
    for setting in settings:
        for run in setting.runs:
            for metric in run_metrics(run.config, run.rows):
                metrics.setdefault(metric.key, metric)
    several = len(settings) > 1
    found = []
    for metric in metrics.values():
        series = [
            Series(
                name=setting.name if several else run.name,
                points=points(metric, run.rows),
                smooth=False,
                style=number if several else seed,
            )
            for number, setting in enumerate(settings)
            for seed, run in enumerate(setting.runs)
        ]
        series = [one for one in series if any(math.isfinite(value) for _, value in one.points)]
        if series:
            title = metric.title
            found.append(Chart(title=title, unit=metric.unit, floor=metric.floor, series=series))
    return found


def comparison_page(title: str, comparison: Comparison, links: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        title: heading.
        comparison: of the runs.
        links: run -> where its report is, seen from the page.
    """
    names = [setting.name for setting in comparison.settings]
    drawn = enumerate(comparison_charts(comparison.settings), start=1)
    differ = [[key, *values] for key, values in comparison.differences.items()]
    return html_page(
        title,
        template="comparison.html",
        style=charts.STYLE,
        results=comparison_rows(comparison),
        note=NOTE,
        paired=paired_lines(comparison.paired),
        differences=[["key", *names], *differ] if differ else [],
        figures=html(line_chart(chart, number) for number, chart in drawn),
        settings=comparison.settings,
        links=links,
    )
