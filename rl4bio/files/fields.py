"""Cells of tables of medical questions as texts, numbers and options; what is none is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rl4bio.files.cells import NO_VALUE, as_text, checked_text, spelled_out
from rl4bio.text.redaction import shown

OPTIONS = "letter: text, or a list of texts"
"""What a column of options holds."""


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN (also as text, as tables write it), or blanks."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan"))


def text_of(fields: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    """The text of a column, stripped.

    Args:
        fields: of the row.
        name: of the column.
        empty: whether it may be missing or hold nothing.

    Raises:
        ValueError: it is no text, or no text that can be trained on.
    """
    if empty and (is_missing(fields.get(name)) or str(fields[name]).strip().lower() in NO_VALUE):
        return ""
    if name not in fields:
        raise ValueError(f"column {name!r} is missing; the row has {shown(sorted(fields), 200)}")
    return clean(fields[name], name)


def clean(value: Any, name: str) -> str:
    """A cell as text, stripped, with plain line ends; a number (no NaN) as it is written."""
    if is_missing(value):
        raise ValueError(f"{name} is empty ({shown(value)}), needs text")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}, needs text")
    text = as_text(value, name).replace("\r\n", "\n").replace("\r", "\n").strip()
    return checked_text(text, name)


def as_index(value: Any) -> int | None:
    """A number of an option, also as text ("2") or as a table's float (2.0); None for the rest."""
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def split_options(value: Any, name: str) -> Any:
    """Options in the forms of tables as they come: letter -> text, a list of texts, a list of
    {key, value}, {label: [...], text: [...]}, or one of these spelled out; else the cell itself.

    Raises:
        ValueError: the cell begins like one of these and cannot be read.
    """
    value = spelled_out(value, name, needs=OPTIONS)
    pairs = value if isinstance(value, list) else []
    if pairs and all(isinstance(pair, dict) and {"key", "value"} <= pair.keys() for pair in pairs):
        return {pair["key"]: pair["value"] for pair in pairs}
    if isinstance(value, dict) and value.keys() == {"label", "text"}:
        labels, texts = (spelled_out(value[key], name) for key in ("label", "text"))
        if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts):
            return dict(zip(labels, texts, strict=True))
    return value
