"""The metrics of several tasks in one file; nothing is pooled over tasks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from rl4bio.evaluation.outputs import Summary
from rl4bio.files.delimited import csv_text
from rl4bio.reports.answers.estimates import MORE
from rl4bio.storage import write_atomic
from rl4bio.storage.files import storage_errors
from rl4bio.text.redaction import number_cell, safe_cell


def write_tasks(path: Path, summaries: Mapping[str, Summary]) -> None:
    """Write the metric tables of several tasks as one CSV: a line a task, model and mode.

    Raises:
        StorageError: the file cannot be written.
    """
    main = ("accuracy", "macro_f1", "parse_strict")
    columns = [*main, *MORE]
    header = [f"{name}{end}" for name in columns for end in ("", "_low", "_high")]
    rows = [["task", "model", "mode", "items", *header]]
    for task, summary in summaries.items():
        for row in summary.rows:
            metrics = row.metrics
            found = {name: getattr(metrics, name) for name in main} | metrics.more
            cells = [safe_cell(text) for text in (task, row.model, row.mode)]
            cells.append(str(metrics.num_items))
            for name in columns:
                ends = dataclasses.astuple(found[name]) if name in found else (math.nan,) * 3
                cells += [number_cell(value) for value in ends]
            rows.append(cells)
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, csv_text(rows))
