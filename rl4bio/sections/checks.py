"""Checks that the sections share; their messages start with the full key."""

from __future__ import annotations

import datetime
import math
from typing import Any
from urllib.parse import urlsplit

from rl4bio.errors import ConfigError

MISSING: Any = "???"
"""Default of a key that must be given: OmegaConf's own mark, without the time that it takes to load
(a fifth of a second, which `--help` would pay too)."""


def require(ok: bool, key: str, message: str) -> None:
    """Raise a ConfigError that starts with the key unless the condition holds."""
    if not ok:
        raise ConfigError(f"{key}: {message}")


def positive(section: str, obj: Any, *names: str) -> None:
    """Raise a ConfigError unless each value is None or a finite number above 0."""
    for name in names:
        value = getattr(obj, name)
        ok = value is None or (math.isfinite(value) and value > 0)
        require(ok, f"{section}.{name}", f"got {value}, needs a number above 0")


def not_negative(section: str, obj: Any, *names: str) -> None:
    """Raise a ConfigError unless each value is None or a finite number of at least 0."""
    for name in names:
        value = getattr(obj, name)
        ok = value is None or (math.isfinite(value) and value >= 0)
        require(ok, f"{section}.{name}", f"got {value}, needs a number of at least 0")


def at_least(least: float, **options: float | None) -> None:
    """Raise a ValueError that starts with the option unless each is None or so large."""
    for name, value in options.items():
        if value is not None and not value >= least:
            raise ValueError(f"{name}: got {value}, needs at least {least}")


def http_address(key: str, url: str, *, example: str, instead: str) -> None:
    """Raise a ConfigError where a text is no address of an HTTP service, or holds a password.

    Args:
        instead: what to do with the password.
    """
    try:
        address = urlsplit(url)
        ok = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number, or half of an IPv6 address
        ok = False
    ok = ok and url.isascii() and url.isprintable() and " " not in url
    require(ok, key, f"got {url!r}, needs an address such as {example}")
    message = f"holds a user or password; leave it out, and {instead}"
    require("@" not in address.netloc, key, message)


def is_date(text: str) -> bool:
    """Whether a text is a day in ISO's form."""
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True
