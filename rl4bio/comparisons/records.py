"""Finished runs read from their folders, those that differ in their seed alone put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rl4bio.errors import ConfigError, StorageError
from rl4bio.reports.run.comparison import RunRecord, Setting
from rl4bio.runs.finish import read_metrics
from rl4bio.storage import RunFolder, read_json
from rl4bio.storage.changed_keys import leaves

OWN = ("name", "seed", "output_dir", "logging", "plugins")
"""Keys that say nothing about what a run computes, or are of its seed alone."""
_MOST_IN_NAME = 3


def run_names(folders: Sequence[Path]) -> list[str]:
    """A name for each of some different folders: its last part, with as many before it as it takes
    to tell them apart."""
    places = [folder.resolve() for folder in folders]
    names = [place.name for place in places]
    for depth in range(2, max((len(place.parts) for place in places), default=0) + 1):
        twice = {name for name in names if names.count(name) > 1}
        for n, place in enumerate(places):
            if names[n] in twice:
                names[n] = "/".join(place.parts[-depth:])
    return names


def why_not(path: Path) -> str | None:
    """Why a folder cannot be compared with others; None where it can."""
    folder = RunFolder(path)
    if not path.exists():
        return "no such folder"
    if not folder.config.is_file():
        inside = any(path.glob("*/config.yaml"))
        return "no run's folder (no config.yaml)" + (f", but {path}/* are" if inside else "")
    if not folder.summary.is_file():
        return "is not finished (no summary.json)"
    return None


def read_run(path: Path, name: str | None = None) -> RunRecord:
    """What is compared of a run.

    Args:
        path: its folder.
        name: by which it is called; None for the folder's.

    Raises:
        ConfigError: the folder is no run's.
        StorageError: the run is not finished, or a file of it cannot be read.
    """
    folder = RunFolder(path)
    reason = why_not(path)
    if reason is not None and not folder.config.is_file():
        raise ConfigError(f"{path}: {reason}; name folders of `rl4bio fit`")
    if reason is not None:
        raise StorageError(f"{path}: {reason}; let `rl4bio fit` finish it")
    try:
        config = yaml.safe_load(folder.config.read_text("utf-8"))
        summary = read_json(folder.summary)
        rows = read_metrics(folder.metrics)
        if not isinstance(config, dict):
            raise ValueError("no mapping")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); is it a whole run?") from error
    return RunRecord(
        name=name or path.resolve().name, folder=path, config=config, summary=summary, rows=rows
    )


def settings_of(runs: Sequence[RunRecord]) -> list[Setting]:
    """Runs that differ in their seed alone make one setting; its name says what is its own."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_facts(run), sort_keys=True, default=str), []).append(run)
    varied = differences(runs)
    taken: set[str] = set()
    found = []
    for own in groups.values():
        values = [f"{_last(key)}={value_of(own[0], key)}" for key in varied]
        few = 0 < len(values) <= _MOST_IN_NAME and len(groups) > 1
        name = ", ".join(values) if few else own[0].name
        if name in taken:
            name = own[0].name
        taken.add(name)
        found.append(Setting(name=name, runs=own))
    return found


def differences(runs: Sequence[RunRecord]) -> list[str]:
    """Dotted keys, sorted, that not all runs have the same value of."""
    tables = [_facts(run) for run in runs]
    keys = sorted({key for table in tables for key in table})
    return [key for key in keys if len({repr(table.get(key)) for table in tables}) > 1]


def _facts(run: RunRecord) -> dict[str, Any]:
    found = dict(leaves(_lists_as_values(run.config)))
    return {key: value for key, value in found.items() if key.partition(".")[0] not in OWN}


def _lists_as_values(value: Any) -> Any:
    """A configuration in which a list of plain values is one value, as YAML writes it."""
    if isinstance(value, dict):
        return {key: _lists_as_values(child) for key, child in value.items()}
    if not isinstance(value, list):
        return value
    if any(isinstance(child, dict | list) for child in value):
        return [_lists_as_values(child) for child in value]
    return f"[{', '.join(map(yaml_words, value))}]"


def value_of(run: RunRecord, key: str) -> str:
    """A value of the configuration, as it is shown; a dash where the run has no such key."""
    facts = _facts(run)
    return yaml_words(facts[key]) if key in facts else "–"


def yaml_words(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _last(key: str) -> str:
    parts = key.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
