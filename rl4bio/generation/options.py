"""Values of the options of `rl4bio generate`, and the noise that they ask for."""

from __future__ import annotations

import argparse
import math
from typing import Any


def noise(arguments: argparse.Namespace, numbers: range) -> dict[str, Any]:
    """Temperature and seeds of `sample_completions` for texts by number; at 0 it is greedy."""
    from rl4bio.modules.rollout import sampling_seed

    if arguments.temperature == 0:
        return {"temperature": 1.0, "seeds": None}
    seeds = [sampling_seed(arguments.seed, number, 0) for number in numbers]
    return {"temperature": arguments.temperature, "seeds": seeds}


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
