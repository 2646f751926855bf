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


def named_run(arguments: argparse.Namespace) -> Path | None:
    """The folder of `--run`, or of the run that ships under `rl4bio:<name>`; None without one.

    Raises:
        ConfigError: no such run ships.
    """
    if arguments.run is None or not is_asset(arguments.run):
        return None if arguments.run is None else Path(arguments.run)
    folder = asset(arguments.run, SHIPPED_RUN)
    if folder is None:
        raise ConfigError(
            f"--run: no run {arguments.run!r} ships with rl4bio; shipped: "
            f"{shipped_text(SHIPPED_RUN)}"
        )
    return folder


def config_file(arguments: argparse.Namespace) -> Path:
    """`--config`, or the configuration that the run was made with."""
    if arguments.config is not None:
        return Path(arguments.config)
    run = named_run(arguments)
    if run is None:
        raise ConfigError("--config: is required without --run; name the YAML file of a run")
    return run / "config.yaml"


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
    folder = named_run(arguments)
    if folder is None:
        named = arguments.adapter or arguments.tuned
        if named is None:
            return None
        if not Path(named).is_dir():
            raise ModelError(f"{named}: no such folder; name the adapter/ or model/ of a run")
        return Path(named)
    run = RunFolder(folder)
    if run.tuned is None:
        raise ModelError(
            f"{run.root}: has neither adapter/ nor model/; let `rl4bio fit` finish the run first"
        )
    return run.tuned
