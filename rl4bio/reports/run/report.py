"""The training report of a run folder: what ran, what changed, charts, sample completions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rl4bio.reports.html import charts
from rl4bio.reports.html.charts import line_charts
from rl4bio.reports.html.page import html_page
from rl4bio.reports.html.ticks import number_text
from rl4bio.reports.run.known_metrics import Metric
from rl4bio.reports.run.metrics import Row, run_charts, run_metrics
from rl4bio.reports.run.samples import sample_section
from rl4bio.text.redaction import mask_secrets

STYLE = (
    charts.STYLE
    + """
.facts dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  gap: .2rem 1.5rem; }
.facts dd { margin-left: 0; overflow-wrap: anywhere; }
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
_TASKS = {
    "grpo": "GRPO (reinforcement learning from rewards)",
    "sft": "SFT (imitation of demonstrations)",
}


def run_report(
    *,
    title: str,
    config: dict[str, Any],
    summary: dict[str, Any],
    metrics: list[Row],
    completions: Path,
    molecules: Path | None = None,
) -> str:
    """The page.

    Args:
        title: heading.
        config: the resolved configuration.
        summary: what summary.json holds.
        metrics: the rows of metrics.csv, each with its `step`.
        completions: folder of the recorded completions.
        molecules: the run's molecules.csv; where it exists, its molecules are shown instead.

    Raises:
        StorageError: a file of completions cannot be read.
    """
    shown = run_metrics(config, metrics)
    style = STYLE
    written = {}
    if molecules is not None and molecules.is_file():
        from rl4bio.reports.html.pareto_chart import STYLE as PARETO_STYLE
        from rl4bio.reports.html.structures import STYLE as MOLECULE_STYLE
        from rl4bio.reports.run.molecules import molecule_section

        style += MOLECULE_STYLE + PARETO_STYLE
        written["Molecules"] = molecule_section(molecules)
    elif config.get("rewards"):
        written["Sample completions"] = sample_section(completions)
    settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000)
    return html_page(
        "run.html",
        title,
        style=style,
        warnings=summary.get("warnings") or [],
        facts=_facts(config, summary),
        **_changes(shown, summary, metrics),
        figures=line_charts(run_charts(shown, metrics)),
        written=written,
        settings=mask_secrets(settings),
    )


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


def _changes(
    shown: Sequence[Metric], summary: dict[str, Any], rows: Sequence[Row]
) -> dict[str, Any]:
    """First against last steps; the means are those of the summary, so that all files agree."""
    if not rows:
        return {"changes": []}
    window = summary["window_steps"]
    first, last = rows[:window], rows[-window:]
    return {
        "changes": [
            (m, _change(m, summary["first"].get(m.key), summary["last"].get(m.key))) for m in shown
        ],
        "spans": (_span(first), _span(last)),
        "shared": last[0]["step"] <= first[-1]["step"],
    }


def _span(rows: Sequence[Row]) -> str:
    low, high = rows[0]["step"], rows[-1]["step"]
    return f"step {low:.0f}" if low == high else f"steps {low:.0f}–{high:.0f}"


def _change(metric: Metric, first: float | None, last: float | None) -> list[str]:
    """First mean, last mean, and their difference."""
    values = [None if value is None else value * metric.scale for value in (first, last)]
    cells = ["–" if value is None else number_text(value) for value in values]
    if values[0] is None or values[1] is None:
        return [*cells, "–"]
    difference = values[1] - values[0]
    return [*cells, ("+" if difference > 0 else "") + number_text(difference)]
