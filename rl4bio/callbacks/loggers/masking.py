"""The configuration as loggers may show it: without its secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from rl4bio.text.redaction import SECRET_KEY, mask_secrets


def masked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with secrets as ***: by the name of their key, or by their shape."""
    return {
        str(key): _masked(value, secret=bool(SECRET_KEY.search(str(key))))
        for key, value in config.items()
    }


def _masked(value: Any, *, secret: bool) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, list | tuple):
        return [_masked(item, secret=secret) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return "***" if secret else mask_secrets(value)


def mask_text(text: str, config: Mapping[str, Any]) -> str:
    """A text that may quote the configuration, with the same secrets as ***."""
    named = {f"{number}_KEY": value for number, value in enumerate(_secrets(config))}
    return mask_secrets(text, {**os.environ, **named})


def _secrets(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _secrets(child, str(name))
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _secrets(child, key)
    elif isinstance(value, str) and SECRET_KEY.search(key):
        yield value
