"""Text that is safe to show: secrets masked, control characters escaped, length bounded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

MAX_SHOWN_CHARACTERS = 2_000

_SECRET_NAME = re.compile(r"(_KEY|_TOKEN|SECRET\w*|PASSWORD\w*)$", re.IGNORECASE)
_TOKEN_SHAPE = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}|(?<=://)[^/@\s]{1,400}@")
_SHORTEST_SECRET = 6
"""Shorter values ("1", "none") are ordinary words; masking them would spoil every message."""


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
