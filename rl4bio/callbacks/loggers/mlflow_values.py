"""What a run sends to MLflow, in the forms that MLflow takes."""

from __future__ import annotations

import csv
import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_PARAM_CHARACTERS = 500
"""What servers since MLflow 1.28 take; config.yaml among the run's files has the whole text."""
_MAX_KEY_CHARACTERS = 250


def mlflow_key(name: str) -> str:
    """The name of a metric, parameter, tag or table with what MLflow refuses replaced by _."""
    text = re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
    return posixpath.normpath(text).lstrip("./")[:_MAX_KEY_CHARACTERS] or "_"


def flat_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Each value of a configuration by its dotted key, as on the command line; long ones are cut.

    Args:
        config: plain dicts, lists and scalars. A list of scalars is one value.
    """
    return {mlflow_key(key): _cut(text) for key, text in _leaves(config)}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_PARAM_CHARACTERS else f"{text[: MAX_PARAM_CHARACTERS - 3]}..."


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    children: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        children = value
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        children = dict(enumerate(value))
    for name, child in children.items():
        yield from _leaves(child, f"{key}.{name}" if key else str(name))
    if key and not children:
        yield key, value if isinstance(value, str) else json.dumps(value, default=str)


def best_molecules(path: Path, count: int) -> tuple[list[str], list[list[Any]], int]:
    """Header, the molecules with the highest totals (each once, best first) and the last step.

    Args:
        path: a molecules.csv as MoleculeTable writes it.
        count: most rows.
    """
    best: dict[str, dict[str, str]] = {}
    step = 0
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            step = int(row["step"])
            name, total = row["canonical"], _number(row["total"])
            if name and total is not None:
                kept = best.get(name)
                if kept is None or total > float(kept["total"]):
                    best[name] = row
    top = sorted(best.values(), key=lambda row: -float(row["total"]))[:count]
    columns = [c for c in (top[0] if top else {}) if c not in ("smiles", "state")]
    rows: list[list[Any]] = [
        [row[c] if c == "canonical" else _number(row[c]) for c in columns] for row in top
    ]
    return columns, rows, step


def _number(text: str) -> float | None:
    value = float(text) if text else math.nan
    return None if math.isnan(value) else value
