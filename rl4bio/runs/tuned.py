"""The configuration and the tuned weights that a command is about."""

from __future__ import annotations

import argparse
from pathlib import Path

from rl4bio.config.load import stage_configs
from rl4bio.errors import ConfigError, ModelError
from rl4bio.files.assets import asset, is_asset, shipped_text
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder

SHIPPED_RUN = "adapter/adapter_config.json"
"""What a run that ships with the package holds."""


def config_file(arguments: argparse.Namespace) -> Path:
    """`--config`, or the configuration that the run was made with."""
    if arguments.config is not None:
        return Path(arguments.config)
    if arguments.run is None:
        raise ConfigError("--config: is required without --run; name the YAML file of a run")
    return named_run(arguments.run).config


def named_run(named: str, *, whole: bool = True) -> RunFolder:
    """The run behind `--run`.

    Args:
        named: its folder, or `rl4bio:<name>` of one that ships.
        whole: whether it must have its configuration.

    Raises:
        ConfigError: the folder is not there, or is none of a run.
    """
    root = asset(named, SHIPPED_RUN) if is_asset(named) else Path(named)
    if root is None:
        raise ConfigError(
            f"--run: no run {named!r} ships with rl4bio; shipped: {shipped_text(SHIPPED_RUN)}"
        )
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise ConfigError(f"--run: {named}: {what}; name the folder of a run, such as runs/NAME")
    run = RunFolder(root)
    if not run.config.is_file():
        if (root.parent / run.config.name).is_file():
            raise ConfigError(f"--run: {named}: is a part of a run; name {root.parent}")
        if whole:
            raise ConfigError(
                f"--run: {named}: no run's folder (no config.yaml); name one of `rl4bio fit`"
            )
    return run


def run_config(config: RunConfig) -> RunConfig:
    """What a finished run is sampled and evaluated with: the last stage of a chain, or the run.

    The model it starts from stays that of the whole chain.
    """
    stages = stage_configs(config)
    if not stages:
        return config
    last = stages[-1]
    last.name, last.policy = config.name, config.policy
    return last


def find_tuned(arguments: argparse.Namespace) -> Path | None:
    """The folder with the tuned weights, or None where only the base is asked for.

    Raises:
        ModelError: the run holds no finished model, or the folder is not there.
    """
    if arguments.run is None:
        named = arguments.adapter or arguments.tuned
        if named is None:
            return None
        if not Path(named).is_dir():
            raise ModelError(f"{named}: no such folder; name the adapter/ or model/ of a run")
        return Path(named)
    run = named_run(arguments.run)
    if run.tuned is None:
        raise ModelError(
            f"{run.root}: has neither adapter/ nor model/; let `rl4bio fit` finish the run first"
        )
    return run.tuned
