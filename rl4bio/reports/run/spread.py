"""How the rewards of a run are spread, step by step, from its recorded completions."""

from __future__ import annotations

from pathlib import Path

from rl4bio.reports.html.heat import heat_chart, shown_steps
from rl4bio.reports.run.samples import step_completions
from rl4bio.storage.step_records import step_files

_NAMES = {"total": "total reward"}


def spread_figures(folder: Path) -> list[str]:
    """A picture of the total reward and of each of several parts that are not all equal, as HTML.

    Args:
        folder: of the recorded completions; a run without any has no picture.

    Raises:
        StorageError: a file cannot be read.
    """
    files = step_files(folder)
    values: dict[str, dict[int, list[float]]] = {}
    for step in shown_steps(list(files)):
        for record in step_completions(files[step]):
            for part, value in {"total": record["total"], **record["rewards"]}.items():
                if value is not None:
                    values.setdefault(part, {}).setdefault(step, []).append(value)
    parts = [part for part in values if part != "total"]
    shown = ["total", *parts] if len(parts) > 1 else ["total"]
    figures = (
        heat_chart(f"Completions by {_NAMES.get(part, part)}", values[part])
        for part in shown
        if part in values
    )
    return [figure for figure in figures if figure]
