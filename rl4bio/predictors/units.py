"""What a table may give affinities in; without numpy, for the command's help."""

from typing import Literal

Unit = Literal["p", "M", "mM", "uM", "nM", "pM"]
"""-log10 of mol/l, or a concentration."""
MOLAR: dict[str, float] = {"M": 0.0, "mM": 3.0, "uM": 6.0, "nM": 9.0, "pM": 12.0}
"""Minus the power of ten of a unit, in mol/l."""
