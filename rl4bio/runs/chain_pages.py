"""What a chain of stages leaves in its own folder: last model, one table, summary, report."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rl4bio.reports.run.chain import write_chain_report
from rl4bio.runs.finish import read_metrics
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder, read_json, write_atomic, write_json
from rl4bio.storage.files import storage_errors
from rl4bio.storage.folders import new_folder


def write_chain(
    config: RunConfig, root: RunFolder, stages: Sequence[tuple[str, RunFolder]], *, seconds: float
) -> None:
    """Fill the folder of a chain whose stages are finished; the summary is written last.

    Args:
        config: of the chain.
        root: of the chain.
        stages: name and folder of each.
        seconds: that this process took; stages that were finished before add none.

    Raises:
        StorageError: something cannot be read or written.
    """
    last = stages[-1][1]
    kept = last.adapter if last.adapter.is_dir() else last.model
    target = root.adapter if kept == last.adapter else root.model
    with new_folder(target) as building:
        shutil.copytree(kept, building, dirs_exist_ok=True, copy_function=_link)
    summaries = [read_json(folder.summary) for _, folder in stages]
    write_atomic(root.metrics, joined_metrics([folder.metrics for _, folder in stages]))
    with storage_errors(last.card):
        write_atomic(root.card, last.card.read_text("utf-8"))
    told = [
        {"name": name, "folder": str(folder.root.relative_to(root.root)), **summary}
        | {"name": name}
        for (name, folder), summary in zip(stages, summaries, strict=True)
    ]
    write_chain_report(root.report, title=config.name, stages=told)
    write_json(
        root.summary,
        summaries[-1]
        | {
            "name": config.name,
            "base": summaries[0]["base"],
            "steps": sum(summary["steps"] for summary in summaries),
            "prompts": sum(summary["prompts"] for summary in summaries),
            "seconds": round(seconds, 1),
            "stages": told,
        },
    )
    for empty in (root.completions, root.checkpoints):  # each stage has its own
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()


def joined_metrics(files: Sequence[Path]) -> str:
    """The rows of all stages under one header, with their stage, from 1; steps are counted on."""
    tables = [read_metrics(file) for file in files]
    names = sorted({name for rows in tables for row in rows for name in row} - {"step"})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["step", "stage", *names], restval="")
    writer.writeheader()
    done = 0.0
    for stage, rows in enumerate(tables, start=1):
        for row in rows:
            writer.writerow({**row, "step": int(done + row["step"]), "stage": stage})
        done += max((row["step"] for row in rows), default=0.0)
    return stream.getvalue()


def _link(source: str, target: str) -> None:
    """A second name for a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
