"""What differs between the configuration of a run and one that is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from rl4bio.errors import StorageError


def changed_keys(stored: str, wanted: str, may_differ: Sequence[str] = ()) -> list[str]:
    """Dotted keys whose values differ between two YAML texts, as `key: old -> new`.

    Raises:
        StorageError: a text is no YAML.
    """
    try:
        return _changed_keys(stored, wanted, may_differ)
    except (yaml.YAMLError, RecursionError) as error:
        raise StorageError(
            "config.yaml of the run folder is damaged; put the run's configuration back"
        ) from error


def _changed_keys(stored: str, wanted: str, may_differ: Sequence[str]) -> list[str]:
    old, new = (dict(leaves(yaml.safe_load(text))) for text in (stored, wanted))
    return [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
        and not _same_place(old.get(key), new.get(key))
        and not any(key == free or key.startswith(f"{free}.") for free in may_differ)
    ]


def _same_place(old: Any, new: Any) -> bool:
    """Whether two values are one path: relative and absolute, or of a folder that has moved."""
    if not isinstance(old, str) or not isinstance(new, str):
        return False
    if os.path.isabs(old) == os.path.isabs(new):
        moved = os.path.isabs(old) and not os.path.exists(old) and os.path.exists(new)
        return moved and Path(old).name == Path(new).name
    return os.path.abspath(old) == os.path.abspath(new)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything inside mappings and lists that has no inside itself."""
    if not isinstance(value, dict | list) or not value:
        yield key, value
        return
    for name, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(child, f"{key}.{name}" if key else str(name))
