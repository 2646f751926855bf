"""Text that is safe to show: secrets masked, control characters escaped, no formulas, bounded."""

from __future__ import annotations

import functools
import math
import netrc
import os
import re
from collections.abc import Mapping
from typing import Any

MAX_SHOWN_CHARACTERS = 2_000

_SECRET_NAME = re.compile(
    r"((^|_|API)KEYS?|TOKENS?|SECRET\w*|PASSWORDS?\w*|PASSWD|PASSPHRASE|PASS|_PWD|CREDENTIALS?\w*"
    r"|AUTH|AUTHORIZATION|BEARER|COOKIES?|CONNECTION_STRING)$",
    re.IGNORECASE,
)
"""Variables of the environment; PWD by itself is a folder."""
SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?i:key|token|secret|passwords?|passwd|pwd|passphrase|authorization|auth|bearer"
    r"|cookie|credentials?)$|(?:^|[_.-])(?i:apikeys?|api[_-]keys|secrets)$"
    r"|(?<=[a-z0-9])(?:Key|Token|Secret|Password)$"
)
"""Keys of a configuration whose text is a secret."""
_TOKEN_SHAPE = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bhf_oauth_\w{10,}|\bapi_org_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{10,}"
    r"|\bAKIA[A-Z0-9]{12,}|(?-i:\bASIA[A-Z0-9]{16}\b)|(?-i:\bAIza[\w-]{30,})|\bya29\.[\w-]{10,}"
    r"|\bnpm_[A-Za-z0-9]{20,}|\bpypi-[\w-]{20,}|\bwandb_v1_\w{20,}|\blocal-[0-9a-f]{40}"
    r"|\bgsk_[A-Za-z0-9]{20,}|\bnvapi-[\w-]{20,}|\bdapi[0-9a-f]{32}"
    r"|(?<=\bcookie: )[^\n'\"*]{6,2000}|(?<=PRIVATE KEY-----)[^-]{1,20000}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=bearer )[\w.~+/=-]{8,}|(?<=://)[^/@\s]{1,400}@"
    r"|(?<=token=)[^&\s'\"#]+|(?<=[?&]key=)[^&\s'\"#]+|(?<=[?&]sig=)[^&\s'\"#]+",
    re.IGNORECASE,
)
"""Tokens of the Hub, OpenAI, Anthropic, Groq, Nvidia, Google, GitHub, GitLab, Slack, npm, PyPI,
W&B, Databricks and AWS, cookies, private keys, JSON web tokens, bearers, and what stands in a URL
as a user or behind the name of a secret."""
_NAMED = re.compile(
    r"((?:api[_-]?key|(?:access|account|private|secret)[_-]?key|secret|signature|passw(?:or)?d"
    r"|passphrase|authorization|(?:api|auth|access|refresh|session|security|id)[_-]?token"
    r"|[\"']token[\"']|\bx-(?:[a-z]{1,20}-){0,3}(?:key|token|auth|secret))"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:basic |bearer )?"
    r"|--(?:[a-z]{1,20}-){0,3}(?:key|token|password|secret)[ =])"
    r"([^\s'\"&,;#*][^\s'\"&,#]{5,})",
    re.IGNORECASE,
)
"""Headers, assignments, JSON and options of a command that give a secret its name."""
_remembered: set[str] = set()
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
            default the process's own. What was remembered, the passwords in .netrc, known shapes
            of tokens and `user:password@` of a URL are masked too.
    """
    variables = os.environ if environment is None else environment
    found = {value for name, value in variables.items() if _SECRET_NAME.search(name)}
    found |= _remembered | _netrc_passwords(variables.get("NETRC", "~/.netrc"))
    found |= {part for value in found for part in re.split(r"[,;\n]", value)}
    secrets = {value for value in found if len(value) >= _SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _TOKEN_SHAPE.sub(lambda match: "***@" if match[0].endswith("@") else "***", text)
    return _NAMED.sub(r"\1***", text)


def remember_secrets(config: Any, key: str = "") -> None:
    """Have the secrets of a configuration (texts under SECRET_KEY) masked from now on."""
    if isinstance(config, Mapping):
        for name, child in config.items():
            remember_secrets(child, str(name))
    elif isinstance(config, list | tuple):
        for child in config:
            remember_secrets(child, key)
    elif isinstance(config, str) and SECRET_KEY.search(key):
        _remembered.add(config)


@functools.lru_cache(maxsize=4)
def _netrc_passwords(place: str) -> frozenset[str]:
    try:
        hosts = netrc.netrc(os.path.expanduser(place)).hosts.values()
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return frozenset()
    return frozenset(password for _, _, password in hosts if password)


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
