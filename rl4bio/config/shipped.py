"""Complete runs that ship with the package, by name: `rl4bio:pubmedqa_nano`."""

from __future__ import annotations

from pathlib import Path

import rl4bio
from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean

FOLDER = Path(rl4bio.__file__).parent / "configs"
PREFIX = "rl4bio:"


def config_path(given: str | Path) -> Path:
    """The file that a configuration is in: a path as it is, `rl4bio:NAME` inside the package.

    Raises:
        ConfigError: no configuration of this name ships.
    """
    text = str(given)
    if not text.startswith(PREFIX):
        return Path(given)
    name = text.removeprefix(PREFIX).removesuffix(".yaml")
    if name not in names():
        near = did_you_mean(name, names()).replace("'", f"'{PREFIX}", 1)
        raise ConfigError(
            f"{text}: no configuration of this name ships{near}; `rl4bio list configs` shows them"
        )
    return FOLDER / f"{name}.yaml"


def names() -> list[str]:
    """The names behind `rl4bio:`, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
