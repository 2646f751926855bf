"""The training report of a run folder: what ran, what changed, charts, sample completions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rl4bio.reports.html import charts, heat, sorting
from rl4bio.reports.html.charts import line_chart
from rl4bio.reports.html.figure_files import write_figures
from rl4bio.reports.html.page import html, html_page
from rl4bio.reports.html.ticks import number_text
from rl4bio.reports.run.evaluations import evaluation_links
from rl4bio.reports.run.known_metrics import Metric
from rl4bio.reports.run.metrics import Row, calls_chart, run_charts, run_metrics
from rl4bio.reports.run.samples import sample_sections
from rl4bio.reports.run.spread import spread_figures
from rl4bio.storage import write_atomic
from rl4bio.text.redaction import mask_secrets

STYLE = (
    charts.STYLE
    + heat.STYLE
    + """
.changes { width: 100%; max-width: 48rem; font-size: .9rem; }
.changes th, .changes td { padding: .35rem 0 0 .8rem; text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
.changes th:first-child { text-align: left; padding-left: 0; }
.changes .note { padding: 0 0 .35rem; text-align: left; font-size: .85rem;
  border-bottom: 1px solid var(--line); }
.changes tr { break-inside: avoid; break-after: avoid; }
.changes .after { break-after: auto; }
h4 { margin: 0; font-size: 1rem; }
"""
)
_MAIN = {"reward/total_mean": "Total reward", "train/loss": "Loss"}
"""What the first sentence may be about: the first of them that was logged."""
_TASKS = {
    "grpo": "GRPO (reinforcement learning from rewards)",
    "sft": "SFT (imitation of demonstrations)",
}


def write_run_report(path: Path, page: str, *, molecules: Path | None = None) -> None:
    """Write a page in one piece, and beside it its charts and its molecules as files.

    Args:
        path: the file, `report.html` of the run folder.
        page: as `run_report` gives it.
        molecules: as there.

    Raises:
        StorageError: a file cannot be written.
    """
    write_atomic(path, page)
    write_figures(path.parent, page)
    if molecules is not None and molecules.is_file():
        from rl4bio.reports.run.shown_molecules import write_shown

        write_shown(path.parent, molecules)


def run_report(
    *,
    title: str,
    config: dict[str, Any],
    summary: dict[str, Any],
    metrics: list[Row],
    completions: Path,
    molecules: Path | None = None,
    evaluations: Sequence[str] = (),
    refresh_s: int = 0,
) -> str:
    """The page.

    Args:
        title: heading.
        config: the resolved configuration.
        summary: what summary.json holds.
        metrics: the rows of metrics.csv, each with its `step`.
        completions: folder of the recorded completions.
        molecules: the run's molecules.csv; where it exists, its molecules are shown instead.
        evaluations: where the pages of its evaluation are, seen from this one.
        refresh_s: seconds after which an open page reads itself again; 0 = never.

    Raises:
        StorageError: a file of completions or molecules cannot be read.
    """
    shown = run_metrics(config, metrics)
    drawn = [*run_charts(shown, metrics), *calls_chart(metrics)]
    figures = [line_chart(chart, number) for number, chart in enumerate(drawn, start=1)]
    figures[1:1] = spread_figures(completions)
    style, script, written = STYLE, "", ""
    if molecules is not None and molecules.is_file():
        from rl4bio.reports.html.pareto_chart import STYLE as PARETO_STYLE
        from rl4bio.reports.html.structures import STYLE as MOLECULE_STYLE
        from rl4bio.reports.run.molecules import molecule_sections, read_run_molecules
        from rl4bio.reports.run.shown_molecules import shown_links

        style += MOLECULE_STYLE + PARETO_STYLE + sorting.STYLE
        script = sorting.SCRIPT
        written = html([shown_links(), *molecule_sections(read_run_molecules(molecules))])
    has_samples = not written and bool(config.get("rewards"))
    settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000)
    return html_page(
        title,
        template="run.html",
        verdict=_verdict(summary, metrics),
        style=style,
        script=script,
        refresh_s=refresh_s,
        evaluations=html(evaluation_links(evaluations)),
        warnings=summary.get("warnings") or [],
        facts=_facts(config, summary),
        figures=html(figures if metrics else []),
        change=_change(shown, summary, metrics) if metrics else {},
        molecules=written,
        samples=html(sample_sections(completions) if has_samples else []),
        settings=mask_secrets(settings),
    )


def _verdict(summary: dict[str, Any], rows: Sequence[Row]) -> str:
    """How the main metric went, in one sentence; "" where it was not logged."""
    if len(rows) < 2:
        return ""
    for key, name in _MAIN.items():
        first, last = summary["first"].get(key), summary["last"].get(key)
        if first is not None and last is not None:
            window = summary["window_steps"]
            before, after = _span(rows[:window]), _span(rows[-window:])
            return (
                f"{name}: {number_text(first)} in {before}, {number_text(last)} in {after}, "
                "on what it trained on."
            )
    return ""


def _facts(config: dict[str, Any], summary: dict[str, Any]) -> dict[str, object]:
    rewards = [f"{r['name']} × {r.get('weight', 1.0):g}" for r in config.get("rewards") or []]
    facts = {
        "Task": _TASKS.get(summary["task"], summary["task"]),
        "Base model": summary["base"],
        "Data": (config.get("data") or {}).get("name"),
        "Rewards": ", ".join(rewards),
        "Training steps": summary["steps"],
        "Prompts seen": summary.get("prompts"),
        "Seed": summary["seed"],
        "Time": duration(summary["seconds"]),
        "Software": ", ".join(f"{k} {v}" for k, v in summary.get("versions", {}).items()),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def duration(seconds: float) -> str:
    """A time for people, in its two largest units."""
    if seconds < 59.95:  # 59.97 would read 60.0
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _change(
    shown: Sequence[Metric], summary: dict[str, Any], rows: Sequence[Row]
) -> dict[str, object]:
    """First against last steps; the means are those of the summary, so that all files agree."""
    window = summary["window_steps"]
    first, last = rows[:window], rows[-window:]
    means = [(summary["first"].get(m.key), summary["last"].get(m.key)) for m in shown]
    return {
        "head": ["metric", _span(first), _span(last), "change"],
        "lines": [(m, _change_cells(m, *of)) for m, of in zip(shown, means, strict=True)],
        "shared": last[0]["step"] <= first[-1]["step"],
    }


def _span(rows: Sequence[Row]) -> str:
    low, high = rows[0]["step"], rows[-1]["step"]
    return f"step {low:.0f}" if low == high else f"steps {low:.0f}–{high:.0f}"


def _change_cells(metric: Metric, first: float | None, last: float | None) -> list[str]:
    values = [None if value is None else value * metric.scale for value in (first, last)]
    cells = ["–" if value is None else number_text(value) for value in values]
    change = "–"
    if values[0] is not None and values[1] is not None:
        difference = values[1] - values[0]
        change = ("+" if difference > 0 else "") + number_text(difference)
    return [*cells, change]
