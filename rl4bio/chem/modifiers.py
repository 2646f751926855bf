"""Maps of a property to a desirability in [0, 1], and means (GuacaMol, Brown et al., 2019)."""

from __future__ import annotations

import math


def gaussian(value: float, *, mu: float, sigma: float) -> float:
    """exp(-((value - mu) / sigma)^2 / 2): 1 at mu."""
    return math.exp(-0.5 * ((value - mu) / sigma) ** 2)


def min_gaussian(value: float, *, mu: float, sigma: float) -> float:
    """1 up to mu, a Gaussian beyond: penalises what is too large."""
    return 1.0 if value <= mu else gaussian(value, mu=mu, sigma=sigma)


def max_gaussian(value: float, *, mu: float, sigma: float) -> float:
    """A Gaussian up to mu, 1 beyond: penalises what is too small."""
    return 1.0 if value >= mu else gaussian(value, mu=mu, sigma=sigma)


def clipped(value: float, *, upper: float) -> float:
    """value / upper, held in [0, 1]: reaching `upper` is enough."""
    return min(max(value / upper, 0.0), 1.0)


def geometric_mean(*values: float) -> float:
    """The n-th root of the product of n values that are not negative; 0 where one is 0."""
    return math.prod(values) ** (1 / len(values))


def arithmetic_mean(*values: float) -> float:
    """The sum over n."""
    return math.fsum(values) / len(values)
