"""The untyped tree of a configuration: YAML, overrides on top, and where each key was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rl4bio.errors import ConfigError
from rl4bio.registry import did_you_mean
from rl4bio.yaml_reader import join_key, parse_yaml, read_yaml

_LEADING_KEYS = re.compile(r"([\w.\[\]-]+)(?:: ([A-Za-z_]\w*))?: ")
_OVERRIDE_KEY = re.compile(r"[\w-]+(\.[\w-]+|\[\d+\])*")


class ConfigTree:
    """Plain dicts and lists, and the origin (`file:line`, or the override) of every key.

    Args:
        path: YAML file; None starts empty.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.name = "command line" if path is None else str(path)
        self.origins: dict[str, str] = {}
        self.value: dict[str, Any] = {}
        if path is None:
            return
        if not path.is_file():
            beside = path.parent.glob("*.y*ml") if path.parent.is_dir() else []
            hint = did_you_mean(path.name, [p.name for p in beside])
            raise ConfigError(f"{path}: no such file{hint}; name a YAML file with --config")
        document = read_yaml(path)
        if not isinstance(document.value, dict | None):
            raise ConfigError(f"{path}:1: needs keys and values at the top, such as `name: my_run`")
        self.value = document.value or {}
        self.origins = {key: f"{path}:{line}" for key, line in document.lines.items()}

    def override(self, text: str) -> None:
        """Apply `key=value`; the key may index lists: `rewards.0.weight`, `rewards[0].weight`.

        The value is YAML (`1e-5`, `null`, `{rank: 8}`); a mapping is merged into what is there,
        and a section that is null or absent is created.
        """
        origin = f"override {text!r}"
        key, equals, written = text.partition("=")
        if not equals or not _OVERRIDE_KEY.fullmatch(key):
            files = "; a file goes behind --config" if key.endswith((".yaml", ".yml")) else ""
            raise ConfigError(
                f"{origin}: needs key=value with a dotted key, such as optim.lr=1e-5{files}"
            )
        value = ""
        lines: dict[str, int] = {}
        if written:
            try:
                document = parse_yaml(written, origin)
            except ConfigError as error:  # the line number of a single line says nothing
                raise ConfigError(str(error).replace(f"{origin}:1: ", f"{origin}: ")) from None
            value, lines = document.value, document.lines
        parts = re.split(r"[.\[\]]+", key.removesuffix("]"))
        full = self._assign(parts, value, origin)
        self.origins[full] = origin
        for child in lines:
            self.origins[f"{full}{'' if child.startswith('[') else '.'}{child}"] = origin

    def origin(self, key: str) -> str:
        """Where a key, or else the nearest section around it, was written."""
        while key:
            if key in self.origins:
                return self.origins[key]
            key = re.sub(r"(^|\.)[^.\[\]]*$|\[\d+\]$", "", key)
        return self.name

    def located(self, error: ConfigError) -> ConfigError:
        """The error with its origin in front; its message starts with a full key."""
        message = str(error)
        match = _LEADING_KEYS.match(message)
        if match is None:
            return ConfigError(f"{self.name}: {message}")
        key, option = match.groups()
        if option and f"{key}.{option}" in self.origins:
            key, message = f"{key}.{option}", f"{key}.{message[len(key) + 2 :]}"
        return ConfigError(f"{self.origin(key)}: {message}")

    def _assign(self, parts: list[str], value: Any, origin: str) -> str:
        """Put a value at its place; returns the full key."""
        node: Any = self.value
        key = ""
        for part, last in zip(parts, [False] * (len(parts) - 1) + [True], strict=True):
            index: Any = part
            if isinstance(node, list):
                if not part.isdecimal() or int(part) >= len(node):
                    raise ConfigError(
                        f"{origin}: {key} is a list of {len(node)}; {part!r} is no index of it"
                    )
                index = int(part)
                self.origins[key] = origin  # a list is checked as a whole
            elif not isinstance(node, dict):
                raise ConfigError(f"{origin}: {key} is a single value, it has no {part!r}")
            key = join_key(key, index)
            old = node[index] if isinstance(index, int) else node.get(index)
            if last:
                node[index] = _merged(old, value)
            elif old is None:
                node[index] = {}
                self.origins[key] = origin
            node = node[index]
        return key


def _merged(old: Any, new: Any) -> Any:
    """Mappings merge key by key; everything else is replaced."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
