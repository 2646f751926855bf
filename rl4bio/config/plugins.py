"""Imports the modules of `plugins:`, which register their own rewards, corpora and callbacks."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rl4bio.errors import ConfigError, Rl4bioError
from rl4bio.files.plugin_file import MODULES, import_file

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def import_plugins(plugins: Sequence[str], config_folder: Path | None = None) -> list[str]:
    """Import each plugin once.

    Args:
        plugins: dotted modules (the working directory is searched too), or paths of .py files
            relative to the working directory or to the configuration.
        config_folder: folder of the configuration file.

    Returns:
        The plugins under names that work without the configuration's folder.

    Raises:
        ConfigError: a plugin is missing or raises while it is imported.
    """
    return [
        _import_plugin(plugin, f"plugins[{index}]", config_folder)
        for index, plugin in enumerate(plugins)
    ]


def _import_plugin(plugin: str, where: str, config_folder: Path | None) -> str:
    is_file = plugin.endswith(".py")
    try:
        if is_file:
            path = _find_file(plugin, where, config_folder)
            import_file(path)
            return plugin if Path(plugin).is_file() else str(path)
        if not _MODULE.fullmatch(plugin):
            raise ConfigError(f"{where}: {plugin!r} is neither a dotted module nor a .py file")
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        if getattr(importlib.import_module(plugin), "__file__", None) is None:
            raise ConfigError(f"{where}: {plugin} is a folder without code; name a .py file in it")
        MODULES.add(plugin)
        return plugin
    except Rl4bioError as error:
        located = str(error).startswith(where)
        raise ConfigError(str(error) if located else f"{where}: {plugin}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{where}: {plugin} does not import: {type(error).__name__}: {error}; "
            "run it with python to see the traceback"
        ) from error


def _find_file(plugin: str, where: str, config_folder: Path | None) -> Path:
    candidates = [Path(plugin)]
    if config_folder is not None:
        candidates.append(config_folder / plugin)
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    tried = " and ".join(str(candidate) for candidate in candidates)
    raise ConfigError(f"{where}: no file {tried}; paths start at the working directory")
