"""The page of a run of several stages: what each did, with links to their own reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl4bio.reports.html.page import html, html_page
from rl4bio.reports.html.ticks import number_text
from rl4bio.reports.run.evaluations import evaluation_links
from rl4bio.storage import write_atomic

SHOWN = {
    "reward/total_mean": "reward",
    "train/loss": "loss",
    "val/loss": "validation loss",
    "val/reward/total_mean": "validation reward",
    "train/kl": "KL",
    "rollout/completion_tokens_mean": "tokens",
}
"""Metrics that are compared, and what they are called."""


def write_chain_report(
    path: Path,
    *,
    title: str,
    stages: Sequence[Mapping[str, Any]],
    evaluations: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        path: `report.html` of the chain's folder.
        title: heading.
        stages: the summary of each, with its `name` and its `folder` as seen from the page.
        evaluations: where the pages of its evaluation are, seen from this one.

    Raises:
        StorageError: it cannot be written.
    """
    names = [name for name in SHOWN if any(name in stage["last"] for stage in stages)]
    rows = [["stage", "task", "steps", "seconds", *(SHOWN[name] for name in names)]]
    for stage in stages:
        facts = [stage["task"], f"{stage['steps']:,}", f"{stage['seconds']:,.0f}"]
        rows.append([stage["name"], *facts, *(_change(stage, name) for name in names)])
    page = html_page(
        title,
        template="chain.html",
        evaluations=html(evaluation_links(evaluations)),
        results=rows,
        stages=stages,
    )
    write_atomic(path, page)


def _change(stage: Mapping[str, Any], name: str) -> str:
    first, last = stage["first"].get(name), stage["last"].get(name)
    if first is None or last is None:
        return ""
    return f"{number_text(first)} \u2192 {number_text(last)}"
