"""The page of a finished run again, once there is an evaluation for it to link."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from rl4bio.errors import StorageError
from rl4bio.reports.run.chain import write_chain_report
from rl4bio.reports.run.report import run_report, write_run_report
from rl4bio.runs.finish import read_metrics
from rl4bio.storage import RunFolder, read_json

log = logging.getLogger("rl4bio")


def link_evaluation(root: Path, pages: Sequence[Path]) -> None:
    """Write the report of a run with links to the pages of its evaluation.

    A run whose report cannot be made again keeps the one it has, with a line in the log: the
    evaluation is whole without it.

    Args:
        root: folder of the run.
        pages: of the evaluation; those outside of the run folder are not linked, for one of the
            two may be moved.
    """
    folder = RunFolder(root)
    inside = [page for page in pages if page.resolve().is_relative_to(root.resolve())]
    places = [Path(os.path.relpath(page, root)).as_posix() for page in inside]
    if not places or not folder.summary.is_file() or not folder.report.is_file():
        return
    try:
        summary = read_json(folder.summary)
        if "stages" in summary:
            write_chain_report(
                folder.report, title=summary["name"], stages=summary["stages"], evaluations=places
            )
            return
        page = run_report(
            title=summary["name"],
            config=yaml.safe_load(folder.config.read_text("utf-8")),
            summary=summary,
            metrics=read_metrics(folder.metrics),
            completions=folder.completions,
            molecules=folder.molecules,
            evaluations=places,
        )
        write_run_report(folder.report, page, molecules=folder.molecules)
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError, StorageError) as error:
        log.warning("%s: not linked to its evaluation (%s)", folder.report, error)
