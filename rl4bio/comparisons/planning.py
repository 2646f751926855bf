"""Which runs `--seeds` and `--sweep` ask for: one name, and the changes of each."""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError
from rl4bio.runs.begun_answers import write_out
from rl4bio.runs.claim import stored_config
from rl4bio.runs.launchers import find_task, refuse_script
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder

MOST = 200
"""Runs of one command; more are a slip of the keyboard."""
_LONGEST_NAME = 60
_OPENING, _CLOSING, _QUOTES = "[{(", ")}]", "\"'"
_BEFORE_QUOTES = ("", ",", " ", "=", ":", *_OPENING)


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
    if task is None:
        refuse_script(os.environ)
    swept = [_sweep(text) for text in arguments.sweep]
    keys = [key for key, _ in swept]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ConfigError(f"--sweep: {', '.join(sorted(twice))} is swept twice; name it once")
    if "name" in keys or "seed" in keys:
        raise ConfigError("--sweep: name is given to each run, and seeds go behind --seeds 1,2,3")
    if arguments.seeds is not None:
        swept.append(("seed", _seeds(arguments.seeds)))
    combinations = list(itertools.product(*([(k, v) for v in values] for k, values in swept)))
    if len(combinations) > MOST:
        raise ConfigError(f"--sweep: {len(combinations)} runs, the most are {MOST}")
    base = load_config(arguments.config, arguments.overrides)
    found: list[PlannedRun] = []
    for combination in combinations:
        run = _planned(arguments, base, combination, {one.name for one in found})
        same = next((one for one in found if _computes(one) == _computes(run)), None)
        if same is not None:
            raise ConfigError(
                f"--sweep: {same.name} and {run.name} would be the same run; name each value once"
            )
        found.append(run)
    return found


def _computes(run: PlannedRun) -> RunConfig:
    """Its configuration without its name."""
    named = copy.copy(run.config)
    named.name = ""
    return named


def _planned(
    arguments: argparse.Namespace,
    base: RunConfig,
    changes: Sequence[tuple[str, str]],
    taken: Collection[str],
) -> PlannedRun:
    name = "-".join([base.name, *(_word(key, value) for key, value in changes)])
    if len(name) > len(base.name) + _LONGEST_NAME or name in taken:
        mark = hashlib.sha256(repr(changes).encode()).hexdigest()[:8]
        name = f"{name[: len(base.name) + _LONGEST_NAME - 9]}-{mark}"
    given = [f"{key}={value}" for key, value in changes]
    group = f"{base.name}-{'sweep' if arguments.sweep else 'seeds'}"
    if "mlflow" in base.logging.loggers:
        given.append(f"logging.mlflow_tags.group={group}")
    overrides = (*arguments.overrides, *given, f"name={name}")
    config = load_config(arguments.config, overrides)
    planned = PlannedRun(name=name, group=group, overrides=overrides, config=config)
    if not arguments.restart and not (arguments.resume and planned.finished):
        write_out(config)
        output_dir, stored = Path(config.output_dir), stored_config(config)
        RunFolder.check_free(output_dir, name, stored, resume=arguments.resume)
    return planned


def _word(key: str, value: str) -> str:
    """A change as part of a folder's name: `seed1`, `lr-1e-5`."""
    last = re.split(r"[.\[\]]", key)[-1]
    said = re.sub(r"^-(?=[\d.])", "minus", value)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", said).strip("-.") or "none"
    return f"seed{plain}" if key == "seed" else f"{last}-{plain}"


def _seeds(text: str) -> list[str]:
    """`1,2,3`, `1-5`, or both: `1-3,8`."""
    found: list[int] = []
    for part in re.split(r"[,\s]+", text.strip(", \t")):
        ends = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", part)
        low, high = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, -1)
        if high < low:
            found = []
            break
        found += range(low, min(high, low + MOST) + 1)
    if not found or len(set(found)) < len(found):
        raise ConfigError(
            f"--seeds: got {text!r}, needs numbers, each once, such as 1,2,3, 1-5 or 1-3,8"
        )
    return [str(seed) for seed in found]


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
    """Values between commas; those inside brackets or quotes belong to a value: `[a, b],"c,d"`."""
    found, depth, quote = [""], 0, ""
    for before, sign in zip(["", *text], text, strict=False):
        if quote or (sign in _QUOTES and before in _BEFORE_QUOTES):
            quote = "" if sign == quote else quote or sign
            found[-1] += sign
            continue
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [value.strip() for value in found if value.strip()]
