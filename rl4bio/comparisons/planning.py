"""Which runs `--seeds` and `--sweep` ask for: one name, and the changes of each."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError
from rl4bio.runs.begun_answers import write_out
from rl4bio.runs.claim import stored_config
from rl4bio.runs.launchers import find_task
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder

MOST = 200
"""Runs of one command; more are a slip of the keyboard."""
_LONGEST_NAME = 60
_OPENING, _CLOSING = "[{(", ")}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One of several runs."""

    name: str
    group: str
    """Name of the folder that compares them all, and of their group in W&B and MLflow."""
    overrides: tuple[str, ...]
    """All of its changes to the configuration file, its name and seed among them."""
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.config.output_dir) / self.name

    @property
    def finished(self) -> bool:
        """Whether it is over and has left everything."""
        return RunFolder(self.folder).finished


def plan(arguments: argparse.Namespace) -> list[PlannedRun]:
    """Every combination of the swept values and the seeds, checked before the first one starts.

    Raises:
        ConfigError: a list of values cannot be read, a configuration is wrong, or the processes of
            one run were started by a launcher.
        StorageError: a name is taken.
    """
    if arguments.print_config or arguments.dry_run:
        raise ConfigError(
            "--seeds, --sweep: start several runs; --print-config and --dry-run are of one, so "
            "write seed= or key=value instead"
        )
    task = find_task(os.environ)
    if task is not None and task.world > 1:
        raise ConfigError(
            f"--seeds, --sweep: {task.launcher} has started {task.world} processes; start one, and "
            "write trainer.devices=N"
        )
    swept = [_sweep(text) for text in arguments.sweep]
    keys = [key for key, _ in swept]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ConfigError(f"--sweep: {', '.join(sorted(twice))} is swept twice; name it once")
    if "name" in keys or "seed" in keys:
        raise ConfigError("--sweep: name is given to each run, and seeds go behind --seeds 1,2,3")
    if arguments.seeds:
        swept.append(("seed", _seeds(arguments.seeds)))
    combinations = list(itertools.product(*([(k, v) for v in values] for k, values in swept)))
    if len(combinations) > MOST:
        raise ConfigError(f"--sweep: {len(combinations)} runs, the most are {MOST}")
    base = load_config(arguments.config, arguments.overrides)
    return [_planned(arguments, base, combination) for combination in combinations]


def _planned(
    arguments: argparse.Namespace, base: RunConfig, changes: Sequence[tuple[str, str]]
) -> PlannedRun:
    name = "-".join([base.name, *(_word(key, value) for key, value in changes)])
    if len(name) > len(base.name) + _LONGEST_NAME:
        mark = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: len(base.name) + _LONGEST_NAME - 9]}-{mark}"
    given = [f"{key}={value}" for key, value in changes]
    group = f"{base.name}-{'sweep' if arguments.sweep else 'seeds'}"
    if "mlflow" in base.logging.loggers:
        given.append(f"logging.mlflow_tags.group={group}")
    overrides = (*arguments.overrides, *given, f"name={name}")
    config = load_config(arguments.config, overrides)
    planned = PlannedRun(name=name, group=group, overrides=overrides, config=config)
    if not (arguments.resume and planned.finished):
        write_out(config)
        output_dir, stored = Path(config.output_dir), stored_config(config)
        RunFolder.check_free(output_dir, name, stored, resume=arguments.resume)
    return planned


def _word(key: str, value: str) -> str:
    """A change as part of a folder's name: `seed1`, `lr-1e-5`."""
    last = re.split(r"[.\[\]]", key)[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-.") or "none"
    return f"seed{plain}" if key == "seed" else f"{last}-{plain}"


def _seeds(text: str) -> list[str]:
    """`1,2,3`, or `1-5`."""
    if ends := re.fullmatch(r"(\d{1,10})-(\d{1,10})", text.strip()):
        low, high = map(int, ends.groups())
        found = [str(seed) for seed in range(low, min(high, low + MOST) + 1)]
    else:
        found = split(text)
    ok = found and all(seed.isdigit() for seed in found) and len(set(found)) == len(found)
    if not ok:
        raise ConfigError(f"--seeds: got {text!r}, needs numbers, each once, such as 1,2,3 or 1-5")
    return found


def _sweep(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    found = split(values)
    if not equals or not key.strip() or not found or key.endswith("+"):
        raise ConfigError(
            f"--sweep: got {text!r}, needs a key and its values, such as optim.lr=1e-5,3e-5"
        )
    if len(set(found)) < len(found):
        raise ConfigError(f"--sweep: {text!r} names a value twice")
    return key.strip(), found


def split(text: str) -> list[str]:
    """Values between commas; those inside brackets belong to a value: `[a, b],[c]`."""
    found, depth = [""], 0
    for sign in text:
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [value.strip() for value in found if value.strip()]
