"""Numbers on an axis: round ticks, and how they are written."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def nice_ticks(low: float, high: float, *, count: int = 4, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that enclose a range.

    Args:
        low: lower end, finite.
        high: upper end, finite, not below `low`; a range without width is widened.
        count: intervals wanted; there may be about twice fewer, or one more at each end.
        whole: only whole numbers.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = 0.1 * abs(low)
        low, high = (low - pad, high + pad) if pad else (0.0, 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def number_text(value: float) -> str:
    """A number for people: three significant digits, powers of ten written out."""
    if not math.isfinite(value):
        return "–"
    value += 0.0  # -0.0 becomes 0.0
    size = abs(value)
    if size >= 1e5 or 0 < size < 1e-3:
        exponent = math.floor(math.log10(size))
        shown = f"{value / 10.0**exponent:.3g}×{power_text(exponent)}"
    else:
        shown = f"{value:,.0f}" if size >= 999.5 else f"{value:.3g}"
    return shown.replace("-", "−")


def tick_text(value: float, spacing: float) -> str:
    """A tick with as many decimals as tell it from its neighbours."""
    decimals = max(0, -math.floor(math.log10(spacing) + 1e-9))
    return f"{value + 0.0:.{decimals}f}".replace("-", "−")


def exponent_of(top: float) -> int:
    """The power of ten taken out of tick labels, a multiple of 3; 0 where they are short anyway."""
    return 0 if 1e-3 <= top < 1e5 else 3 * math.floor(math.log10(top) / 3)


def power_text(exponent: int) -> str:
    """A power of ten, such as 10⁶."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)
