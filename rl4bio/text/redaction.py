"""Text that is safe to show: secrets masked, control characters escaped, no formulas, bounded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

MAX_SHOWN_CHARACTERS = 2_000

_SECRET_NAME = re.compile(r"(_KEY|_TOKEN|SECRET\w*|PASSWORD\w*)$", re.IGNORECASE)
_TOKEN_SHAPE = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}|(?<=://)[^/@\s]{1,400}@")
_SHORTEST_SECRET = 6
"""Shorter values ("1", "none") are ordinary words; masking them would spoil every message."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # and full width

_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def mask_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with secrets replaced by ***.

    Args:
        text: any text.
        environment: variables named *_KEY, *_TOKEN, *SECRET* or *PASSWORD* give the secrets; by
            default the process's own. Known token shapes and `user:password@` of a URL are
            masked too.
    """
    variables = os.environ if environment is None else environment
    secrets = {
        value
        for name, value in variables.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    }
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _TOKEN_SHAPE.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)


def one_line(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """The text on one line: unprintable characters escaped, the middle of a long text left out."""
    shown = "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text[: 2 * limit] + text[max(2 * limit, len(text) - 2 * limit) :]
    )
    if len(shown) <= limit:
        return shown
    return f"{shown[: limit * 3 // 4]} ... {shown[-limit // 4 + 5 :]}"


def shown(value: Any, limit: int = 60) -> str:
    """A value of user data for a message: escaped and cut."""
    text = ascii(value)
    return text if len(text) <= limit else text[:limit] + "..."


def visible(text: str) -> str:
    """The text with control characters shown as symbols and lone surrogates replaced.

    Line ends become a plain newline. Direction marks become their code point in brackets, so that
    a text cannot reorder its line.
    """
    shown = []
    for char in text.replace("\r\n", "\n"):
        code = ord(char)
        if code < 0x20 and char not in "\n\t":
            char = chr(0x2400 + code)  # control pictures
        elif 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF):
            char = "\N{REPLACEMENT CHARACTER}"
        elif char in _DIRECTION_MARKS:
            char = f"[U+{code:04X}]"
        shown.append(char)
    return "".join(shown)


def safe_cell(text: str) -> str:
    """Text that a spreadsheet does not run as a formula: a leading = + - @ gets an apostrophe."""
    text = visible(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


def cell_text(cell: str) -> str:
    """The text that `safe_cell` has written, without its apostrophe."""
    return cell[1:] if cell[:1] == "'" and safe_cell(cell[1:]) != cell[1:] else cell


def number_cell(value: float) -> str:
    """A number with six significant digits; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.6g}"
