"""From run folders to their comparison: report.html, summary.json and lines for the terminal."""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rl4bio.comparisons.pairs import MOLECULES, exam_accuracy, molecule_figures, paired_tests
from rl4bio.comparisons.records import (
    differences,
    read_run,
    run_names,
    settings_of,
    value_of,
    why_not,
)
from rl4bio.errors import ConfigError, StorageError
from rl4bio.reports.run.comparison import (
    Comparison,
    RunRecord,
    Setting,
    comparison_page,
    comparison_rows,
    paired_lines,
)
from rl4bio.storage import write_atomic, write_json
from rl4bio.storage.files import storage_errors

WIDTH = 100
"""Characters of a line in the terminal, as long as names are not longer."""
_SHOWN = 12
"""Keys that differ, and paired tests, in the terminal; the page has all."""


def compare_runs(folders: Sequence[Path], output: Path) -> str:
    """Write the comparison and give what the terminal shows.

    Args:
        folders: of finished runs, at least one. Others that are there, as runs/* names them, are
            left out with a line each.
        output: folder of the comparison, made where it is missing.

    Raises:
        ConfigError: a folder is not there, is named twice, or none is a run's.
        StorageError: no run is finished, one cannot be read, the output cannot be written.
    """
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        twice = next(f for f, place in zip(folders, places, strict=True) if places.count(place) > 1)
        raise ConfigError(f"{twice}: is named twice; name each run once")
    if (output / "config.yaml").exists():
        raise StorageError(f"{output}: is a run's folder; choose another --output")
    left_out = {folder: why for folder in folders if folder.exists() and (why := why_not(folder))}
    if len(left_out) < len(folders):
        for folder, why in left_out.items():
            print(f"rl4bio: left out: {folder}: {why}", file=sys.stderr)
        folders = [folder for folder in folders if folder not in left_out]
    names = run_names(folders)
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    settings = settings_of(runs)
    for setting in settings:
        seeds = [run.config.get("seed") for run in setting.runs]
        if len(set(seeds)) < len(seeds):
            same = ", ".join(run.name for run in setting.runs)
            print(f"rl4bio: {same}: not each has a seed of its own", file=sys.stderr)
    comparison = comparison_of(runs, settings)
    with storage_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    links = {run.name: _relative(run.folder / "report.html", output) for run in runs}
    page = comparison_page(f"{output.name}: {len(runs)} runs", comparison, links)
    write_atomic(output / "report.html", page)
    write_json(output / "summary.json", _record(comparison))
    return "\n".join([*lines(comparison), f"report: {output / 'report.html'}"])


def comparison_of(runs: Sequence[RunRecord], settings: list[Setting]) -> Comparison:
    """Everything that is shown of some runs."""
    found = {
        setting.name: [100 * mean for run in setting.runs if (mean := _accuracy(run)) is not None]
        for setting in settings
    }
    firsts = [setting.runs[0] for setting in settings]
    varied = differences(runs) if len(settings) > 1 else []
    return Comparison(
        settings=settings,
        differences={key: [value_of(run, key) for run in firsts] for key in varied},
        accuracy=found if any(found.values()) else {},
        molecules={
            title: {
                setting.name: [
                    own[title] for own in map(molecule_figures, setting.runs) if title in own
                ]
                for setting in settings
            }
            for title in MOLECULES
        },
        paired=paired_tests(settings),
    )


def _accuracy(run: RunRecord) -> float | None:
    """Mean over the kinds of items that were evaluated; None where none was."""
    shares = exam_accuracy(run)
    return sum(shares.values()) / len(shares) if shares else None


def lines(comparison: Comparison) -> list[str]:
    """The comparison for a terminal."""
    rows = comparison_rows(comparison)
    upright = [list(column) for column in zip(*rows, strict=True)]
    found = _aligned(rows)
    if max(map(len, found)) > WIDTH:
        turned = _aligned(upright)
        found = turned if max(map(len, turned)) < max(map(len, found)) else found
    if any(len(setting.runs) > 1 for setting in comparison.settings):
        found.append("Brackets: 95 % interval of the mean over seeds.")
    if comparison.differences:
        names = list(comparison.differences)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        found += textwrap.wrap(f"They differ in {', '.join(names[:_SHOWN])}{more}.", WIDTH)
    for line in paired_lines(comparison.paired[:_SHOWN]):
        found += textwrap.wrap(line, WIDTH, subsequent_indent="  ")
    return [*found, ""]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [shown[0], "-" * max(map(len, shown)), *shown[1:]]


def _record(comparison: Comparison) -> dict[str, object]:
    header, *rows = comparison_rows(comparison)
    return {
        "table": [dict(zip(header, row, strict=True)) for row in rows],
        "settings": {
            setting.name: {
                run.name: {
                    "folder": str(run.folder),
                    "seed": run.summary.get("seed"),
                    "first": run.summary.get("first"),
                    "last": run.summary.get("last"),
                }
                for run in setting.runs
            }
            for setting in comparison.settings
        },
        "differences": comparison.differences,
        "accuracy": comparison.accuracy,
        "molecules": comparison.molecules,
        "paired": [dataclasses.asdict(one) for one in comparison.paired],
    }


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
