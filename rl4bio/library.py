"""Runs from Python, as in a notebook: `rl4bio.run("rl4bio:pubmedqa_nano", name="mine")`.

What a command prints is printed; what it would end with an exit code for is raised.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl4bio.errors import Rl4bioError
from rl4bio.process.endings import set_run_folder
from rl4bio.reports.html import charts
from rl4bio.reports.html.page import COLOURS, text
from rl4bio.reports.html.ticks import number_text
from rl4bio.reports.run.metrics import Row, run_charts, run_metrics
from rl4bio.runs.finish import read_metrics
from rl4bio.storage import RunFolder, read_json


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `rl4bio evaluate` has written."""

    folder: Path
    report: Path
    """report.html; of several tasks the first one's."""
    summary: dict[str, Any]
    """Of summary.json."""

    def __repr__(self) -> str:
        return f"Evaluation({self.report}: {self.summary['verdict']})"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder, read."""

    folder: Path
    config: dict[str, Any] = field(repr=False)
    metrics: list[Row] = field(repr=False)
    """The rows of metrics.csv: `pandas.DataFrame(run.metrics)` is a table of them."""
    summary: dict[str, Any] = field(repr=False)
    """Of summary.json; {} where the run was stopped."""

    @property
    def report(self) -> Path:
        """Its page."""
        return RunFolder(self.folder).report

    @property
    def finished(self) -> bool:
        """Whether it has reached its end, and not been stopped; `run(..., resume=True)` goes on."""
        return bool(self.summary)

    def evaluate(self, **overrides: Any) -> Evaluation:
        """Base and tuned on the test split; keywords are changes to the run's configuration."""
        from rl4bio.evaluate import command_parser, evaluate

        arguments = _arguments(command_parser(), overrides, run=str(self.folder))
        _called(evaluate, arguments)
        folder = self.folder / "evaluation"
        report = next(path for path in [folder / "report.html", *folder.rglob("report.html")]
                      if path.is_file())  # fmt: skip
        summary = read_json(report.parent / "summary.json")
        return Evaluation(folder=folder, report=report, summary=summary)

    def __repr__(self) -> str:
        return f"Run({self.folder}: {self._end()})"

    def _end(self) -> str:
        """How far it came, and how its main metric went."""
        steps = f"{len(self.metrics)} rows of metrics" if self.metrics else "nothing logged"
        if self.finished:
            steps = f"{self.summary['steps']} steps"
        for key in ("reward/total_mean", "train/loss"):
            first, last = ((self.summary.get(part) or {}).get(key) for part in ("first", "last"))
            if first is not None and last is not None:
                name = key.partition("/")[2].removesuffix("_mean").replace("total", "reward")
                return f"{steps}, {name} {number_text(first)} -> {number_text(last)}"
        return steps if self.finished else f"{steps}, not finished"

    def _repr_html_(self) -> str:
        """What a notebook shows: the end, and the chart of the main metric."""
        drawn = run_charts(run_metrics(self.config, self.metrics), self.metrics)[:1]
        figures = "".join(charts.line_chart(chart, number) for number, chart in enumerate(drawn))
        return (
            f"<style>{COLOURS}{charts.STYLE}</style><p><strong>{text(self.folder)}</strong>: "
            f'{text(self._end())}; {text(self.report)}</p><div style="max-width: 26rem">'
            f"{figures}</div>"
        )


def run(config: str | Path, *, resume: bool = False, **overrides: Any) -> Run:
    """Train by a configuration, as `rl4bio fit` does.

    Args:
        config: YAML file, or `rl4bio:NAME` of one that ships.
        resume: go on with the run of this name.
        overrides: changes to it: `name="mine"`, `trainer={"max_steps": 20}`, `seed=2`; dotted keys
            by `**{"optim.lr": 1e-4}`.

    Returns:
        The run; one that Ctrl-C has stopped is not `finished`.

    Raises:
        Rl4bioError: whatever `rl4bio fit` would end for.
    """
    from rl4bio.config.load import load_config
    from rl4bio.fit import command_parser, fit

    arguments = _arguments(command_parser(), overrides, config=str(config), resume=resume)
    found = load_config(arguments.config, arguments.overrides)
    _called(fit, arguments)
    return load_run(Path(found.output_dir) / found.name)


def load_run(folder: str | Path) -> Run:
    """A run that was made before.

    Raises:
        ConfigError: the folder is no run's.
    """
    import yaml

    from rl4bio.errors import ConfigError

    files = RunFolder(Path(folder))
    if not files.config.is_file():
        raise ConfigError(f"{folder}: no run's folder (no config.yaml)")
    return Run(
        folder=files.root,
        config=yaml.safe_load(files.config.read_text("utf-8")),
        metrics=read_metrics(files.metrics),
        summary=read_json(files.summary) if files.summary.is_file() else {},
    )


def _arguments(
    parser: argparse.ArgumentParser, overrides: dict[str, Any], **own: Any
) -> argparse.Namespace:
    """What a command would read from its command line."""
    found = parser.parse_args([])
    written = [f"{key}={_yaml(value)}" for key, value in overrides.items()]
    return argparse.Namespace(**{**vars(found), **own, "overrides": written})


def _yaml(value: Any) -> str:
    """A value as an override writes it; JSON is YAML."""
    return str(value) if isinstance(value, Path) else json.dumps(value)


def _called(command: Any, arguments: argparse.Namespace) -> None:
    """A command whose log is closed afterwards; an error is raised as it is."""
    from rl4bio.runs.log import close_logging

    try:
        command(arguments)
    except Rl4bioError as error:
        raise error.with_traceback(None) from None
    finally:
        close_logging()
        set_run_folder(None)
