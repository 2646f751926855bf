"""The model that `rl4bio generate` samples: of a run, a folder, or a configuration."""

from __future__ import annotations

import argparse
from pathlib import Path

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError
from rl4bio.runs.tuned import config_file, find_tuned, run_config
from rl4bio.sections import NEW, RunConfig


def find_model(arguments: argparse.Namespace) -> tuple[RunConfig, Path | None]:
    """The configuration of the one source that is named, and the tuned weights of a run.

    Raises:
        ConfigError: there is no source, or more than one; or its model has no weights yet.
    """
    named = [name for name in ("run", "model", "config") if getattr(arguments, name) is not None]
    if len(named) != 1:
        given = " and ".join(f"--{name}" for name in named) or "none"
        raise ConfigError(f"one of --run, --model and --config says what to sample; got {given}")
    if arguments.model is not None:
        plain = ["name=generate", "task=sft", "data.name=trials", "policy.checkpoint=given"]
        config = load_config(None, [*plain, *arguments.overrides])
        config.policy.checkpoint = arguments.model
        return config, None
    if arguments.run is not None:
        tuned = find_tuned(arguments)
        return run_config(load_config(config_file(arguments), arguments.overrides)), tuned
    config = load_config(arguments.config, arguments.overrides)
    if config.policy.checkpoint == NEW:
        raise ConfigError(
            "policy.checkpoint: a new model has random weights; train it with `rl4bio fit`, then "
            "name its run with --run"
        )
    return config, None
