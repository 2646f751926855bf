"""Importing a Python file of a user's, under a name of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from rl4bio.errors import ConfigError

PREFIX = "rl4bio_plugin_"
MODULES: set[str] = set()
"""Dotted modules that were imported as plugins."""


def import_file(path: Path) -> None:
    """Import a file once a process.

    Raises:
        ConfigError: Python cannot import it; or whatever the file raises.
    """
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: Python cannot import this file; name a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while they are defined
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
