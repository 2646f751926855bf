"""The page of a run of several stages: what each did, with links to their own reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl4bio.reports.html.page import RESEARCH_USE, html_page, html_table, local_link, text
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
    links = "".join(
        f"<li>{local_link(stage['folder'] + '/report.html', stage['name'])}</li>"
        for stage in stages
    )
    warned = [f"{stage['name']}: {w['message']}" for stage in stages for w in stage["warnings"]]
    body = [
        f"<h1>{text(title)}</h1>",
        RESEARCH_USE,
        *evaluation_links(evaluations),
        '<p class="note">Each stage goes on from the weights of the one before. Numbers are means '
        "over the first and over the last logged steps of a stage.</p>",
        html_table(rows),
        *(f'<p class="warning">{text(warning)}.</p>' for warning in warned),
        f"<h2>Reports of the stages</h2><ul>{links}</ul>",
    ]
    write_atomic(path, html_page(title, body))


def _change(stage: Mapping[str, Any], name: str) -> str:
    first, last = stage["first"].get(name), stage["last"].get(name)
    if first is None or last is None:
        return ""
    return f"{number_text(first)} \u2192 {number_text(last)}"
