"""Is a text written, or padded? Measures that several rewards multiply by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def variety(said: Sequence[str]) -> float:
    """Share of distinct word triples, 1 where there is none; a text said twice has 0.5."""
    triples = list(zip(said, said[1:], said[2:], strict=False))
    return len(set(triples)) / len(triples) if triples else 1.0


def copied_share(said: Sequence[str], given: Sequence[str]) -> float:
    """Share of a text's word pairs that stand in what it was given, in [0, 1]; 0 without pairs."""
    pairs, known = list(pairwise(said)), set(pairwise(given))
    return sum(pair in known for pair in pairs) / max(1, len(pairs))


def ramp(value: float, *, zero: float, one: float) -> float:
    """0 at and beyond `zero`, 1 at and beyond `one` on its other side, linear between."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))
