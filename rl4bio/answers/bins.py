"""Numbers that are answered as one of a thousand bins of a label's scale."""

from __future__ import annotations

import math
import re

from rl4bio.answers.forms import Form
from rl4bio.answers.tags import body, last_block
from rl4bio.text.sentences import readings

TOP_BIN = 1000
_BIN = re.compile(r"0\d\d|[1-9]\d\d|1000", re.ASCII)


def bin_of(value: float, low: float, high: float) -> int:
    """The bin 0 to 1000 of a label: 1000 (value - low) / (high - low), rounded, held inside.

    TxGemma (Wang et al., 2025, arXiv:2504.06196) scales regression labels from the training
    minimum to the training maximum; that halves are rounded up is our reading.

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"bin_of: got low {low} and high {high}, needs low below high")
    share = (value - low) / (high - low)
    return min(TOP_BIN, max(0, math.floor(TOP_BIN * share + 0.5)))


def value_of_bin(number: float, low: float, high: float) -> float:
    """The label in its own unit of a bin; the inverse of `bin_of` up to rounding."""
    return low + number / TOP_BIN * (high - low)


def bin_text(number: int) -> str:
    """A bin as prompts ask for it: three digits with leading zeros, or 1000."""
    return f"{number:03d}"


def read_bin(answer: str | None) -> int | None:
    """The bin of an answer that is exactly three digits, or 1000; None for anything else."""
    return int(answer) if answer is not None and _BIN.fullmatch(answer.strip()) else None


_LOOSE_BIN = re.compile(r"(?<![\w.+\-])(?:0\d\d|[1-9]\d\d|1000)(?![\w%]|[.,]\d)", re.ASCII)


def lenient_bin(completion: str, form: Form) -> str | None:
    """The bin that a completion tells: the first number of the last answer block that is one.

    Without a block the first of an answer alone, and the last of a text that reasons.
    """
    found = (_loose_bin(text, form) for text in readings(body(completion)))
    return next(filter(None, found), None)


def _loose_bin(text: str, form: Form) -> str | None:
    answer = last_block(text)
    found = _LOOSE_BIN.findall(text if answer is None else answer)
    if not found:
        return None
    return found[-1] if answer is None and form != "direct" else found[0]
