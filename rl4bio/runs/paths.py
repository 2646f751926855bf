"""Paths of a run's configuration, stored so that they hold from every folder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from rl4bio.sections import RunConfig

PATH_OPTIONS = {"source", "path", "file", "folder", "checkpoint", "vocabulary", "model"}
"""Options whose value may be a path without a slash or an ending."""


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """A copy in which every relative path that is there is absolute.

    `output_dir` stays: it says where the next run goes, and not where something of this one is.
    """
    config = copy.deepcopy(config)
    policy = config.policy
    policy.checkpoint = _absolute(policy.checkpoint)
    if policy.adapter is not None and policy.adapter.path is not None:
        policy.adapter.path = _absolute(policy.adapter.path)
    if policy.molgpt is not None:
        policy.molgpt.vocabulary = _absolute(policy.molgpt.vocabulary)
    config.plugins = [_absolute(plugin) if plugin.endswith(".py") else plugin
                      for plugin in config.plugins]  # fmt: skip
    for part in (config.data, *config.rewards, *config.callbacks):
        part.options = {key: _option(key, value) for key, value in part.options.items()}
    return config


def _option(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _option(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_option(key, item) for item in value]
    if not isinstance(value, str):
        return value
    looks_so = "/" in value or Path(value).suffix != "" or key in PATH_OPTIONS
    return _absolute(value) if looks_so else value


def _absolute(value: str) -> str:
    """A path that is there, absolute; a hub id, an asset or a name as it is."""
    try:
        path = Path(value).expanduser()
        return str(path.absolute()) if value and path.exists() else value
    except (OSError, RuntimeError, ValueError):  # too long for a name, or no home
        return value
