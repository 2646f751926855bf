"""From a property in its own unit to a score in [0, 1].

sigmoid, reverse_sigmoid, double_sigmoid and the steps are those of REINVENT 4 (Loeffler et al.,
2024), whose sigmoids have base 10: s(h) = 1 / (1 + 10^-h).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from rl4bio.errors import ConfigError
from rl4bio.registry import build_dataclass, did_you_mean
from rl4bio.sections.checks import at_least

Transform: TypeAlias = Callable[[float], float]
"""A score in [0, 1] of a finite number."""


def sigmoid(h: float) -> float:
    """1 / (1 + 10^-h), without overflow."""
    small: float = 10.0 ** -abs(h)
    return 1 / (1 + small) if h >= 0 else small / (1 + small)


@dataclass(kw_only=True)
class _Numbers:
    """Parameters of a transform: finite numbers."""

    def __post_init__(self) -> None:
        for field in fields(self):
            number = getattr(self, field.name)
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{field.name}: got {number}, needs a finite number")


@dataclass(kw_only=True)
class _Bounds(_Numbers):
    """Two bounds in order."""

    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"low, high: got {self.low}, {self.high}; low must not be above high")


@dataclass(kw_only=True)
class Sigmoid(_Bounds):
    """s(10 k (x - middle) / (high - low)): 1/2 in the middle, rising; a step where low = high."""

    k: float = 0.5
    """Steepness; at 0.5 the bounds score 0.003 and 0.997."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, k=self.k)

    def __call__(self, x: float) -> float:
        distance = x - (self.low + self.high) / 2
        if self.high == self.low:
            return float(distance > 0)
        return sigmoid(10 * self.k * distance / (self.high - self.low))


@dataclass(kw_only=True)
class ReverseSigmoid(Sigmoid):
    """1 - sigmoid: falling."""

    def __call__(self, x: float) -> float:
        return 1 - super().__call__(x)


@dataclass(kw_only=True)
class DoubleSigmoid(_Bounds):
    """High between two bounds, 1/2 at each: rising below the centre, falling from there on.

    s(coef_si / coef_div (x - low)) and 1 - s(coef_se / coef_div (x - high)); hard steps where
    coef_div is 0.
    """

    coef_div: float = 100.0
    coef_si: float = 150.0
    coef_se: float = 150.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, coef_div=self.coef_div, coef_si=self.coef_si, coef_se=self.coef_se)

    def __call__(self, x: float) -> float:
        if x < self.low + (self.high - self.low) / 2:
            return self._rise(x - self.low, self.coef_si)
        return 1 - self._rise(x - self.high, self.coef_se)

    def _rise(self, distance: float, steepness: float) -> float:
        if self.coef_div == 0:
            return float(steepness * distance > 0)
        return sigmoid(steepness / self.coef_div * distance)


@dataclass(kw_only=True)
class StepTransform(_Bounds):
    """1 from low to high, both included, else 0."""

    def __call__(self, x: float) -> float:
        return float(self.low <= x <= self.high)


@dataclass(kw_only=True)
class LeftStep(_Numbers):
    """1 up to low, low included, else 0."""

    low: float

    def __call__(self, x: float) -> float:
        return float(x <= self.low)


@dataclass(kw_only=True)
class RightStep(_Numbers):
    """1 from high on, high included, else 0."""

    high: float

    def __call__(self, x: float) -> float:
        return float(x >= self.high)


@dataclass(kw_only=True)
class Linear(_Bounds):
    """(x - low) / (high - low), cut to [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low == self.high:
            raise ValueError(f"low, high: both are {self.low}; low must be below high, or use step")

    def __call__(self, x: float) -> float:
        return min(1.0, max(0.0, (x - self.low) / (self.high - self.low)))


@dataclass(kw_only=True)
class ReverseLinear(Linear):
    """(high - x) / (high - low), cut to [0, 1]."""

    def __call__(self, x: float) -> float:
        return 1 - super().__call__(x)


@dataclass(kw_only=True)
class Gaussian(_Numbers):
    """exp(-((x - target) / tolerance)^2 / 2): 1 at the target, 0.61 one tolerance beside it."""

    target: float
    tolerance: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance <= 0:
            raise ValueError(f"tolerance: got {self.tolerance}, needs a number above 0")

    def __call__(self, x: float) -> float:
        distance = min(abs(x - self.target) / self.tolerance, 1e6)
        return math.exp(-(distance**2) / 2)


@dataclass(kw_only=True)
class Range(_Bounds):
    """1 from low to high, falling as a Gaussian outside; a step where tolerance is 0."""

    tolerance: float | None = None
    """Standard deviation of the falls; None = half of the range's width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance is None:
            self.tolerance = (self.high - self.low) / 2
        at_least(0, tolerance=self.tolerance)

    def __call__(self, x: float) -> float:
        if self.low <= x <= self.high:
            return 1.0
        if not self.tolerance:
            return 0.0
        edge = self.low if x < self.low else self.high
        return Gaussian(target=edge, tolerance=self.tolerance)(x)


TRANSFORMS: dict[str, type[Any]] = {
    "sigmoid": Sigmoid,
    "reverse_sigmoid": ReverseSigmoid,
    "double_sigmoid": DoubleSigmoid,
    "step": StepTransform,
    "left_step": LeftStep,
    "right_step": RightStep,
    "linear": Linear,
    "reverse_linear": ReverseLinear,
    "gaussian": Gaussian,
    "range": Range,
}
"""By the `kind` of a configuration; a transform's parameters are its fields."""


def build_transform(options: Mapping[str, Any]) -> Transform:
    """The transform of `{kind: ..., <parameters>}`.

    Raises:
        ConfigError: no kind, an unknown one, or a parameter that is unknown, missing or refused.
    """
    kind, known = options.get("kind"), ", ".join(TRANSFORMS)
    if kind is None:
        raise ConfigError(f"transform.kind: is missing; known: {known}")
    if kind not in TRANSFORMS:
        hint = did_you_mean(str(kind), TRANSFORMS)
        raise ConfigError(f"transform.kind: unknown transform {kind!r}{hint}; known: {known}")
    parameters = {key: value for key, value in options.items() if key != "kind"}
    found: Transform = build_dataclass(TRANSFORMS[kind], parameters, where="transform")
    return found
