"""Values of the options of `rl4bio generate`, and how they ask to draw."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl4bio.modules.completing import Sampling


def sampling_of(arguments: argparse.Namespace, **limits: int | None) -> Sampling:
    """How the options ask to draw, within the limits that are given."""
    from rl4bio.modules.completing import Sampling

    return Sampling(
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
        **limits,  # type: ignore[arg-type]
    )


def positive(kind: type, *, zero: bool = False) -> Any:
    """A reader of finite numbers above 0, or of at least 0, for argparse."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = -1
        if not 0 <= value < math.inf or (value == 0 and not zero):
            wanted = "of at least 0" if zero else "above 0"
            raise argparse.ArgumentTypeError(f"got {text!r}, needs a number {wanted}")
        return value

    return read


def seed(text: str) -> int:
    """The value of --seed."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, needs 0 or a positive integer")
    return int(text)
