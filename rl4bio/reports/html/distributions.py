"""Distributions of a number in several sets of items, as one chart of smooth densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rl4bio.reports.html.charts import Chart, Series
from rl4bio.reports.html.ticks import number_text

NUM_POINTS = 81


def distribution_chart(
    title: str, values: Mapping[str, Sequence[float]], *, unit: str = ""
) -> Chart:
    """Kernel density estimates of all sets on one axis.

    The axis spans the 0.5th to the 99.5th percentile of all sets together, a twentieth more at both
    ends; a few values may lie outside.

    Args:
        title: of the chart, and of its horizontal axis.
        values: set -> its values, at least one finite value in all; a set without any is left out.
        unit: of the values.
    """
    finite = {
        name: column[np.isfinite(column)]
        for name, items in values.items()
        if np.isfinite(column := np.asarray(items, dtype=np.float64)).any()
    }
    low, high = np.quantile(np.concatenate(list(finite.values())), [0.005, 0.995])
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    places = np.linspace(low - pad, high + pad, NUM_POINTS)
    return Chart(
        title=title,
        unit=f"density per {unit}" if unit else "density",
        series=[
            Series(
                name=name,
                points=list(zip(places.tolist(), density(column, places).tolist(), strict=True)),
                smooth=False,
            )
            for name, column in finite.items()
        ],
        floor=0.0,
        axis=f"{title} ({unit})" if unit else title,
        description=_description(title, finite),
    )


def density(values: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Gaussian kernel density estimate, 1 / (n h) sum_i phi((x - x_i) / h).

    The bandwidth is Silverman's (1986): h = 0.9 min(sd, IQR / 1.34) n^(-1/5), at least half the
    distance of two places, so that equal values are a narrow peak.

    Args:
        values: [n], finite, at least one.
        places: [m] evenly spaced, at least two.

    Returns:
        float [m].
    """
    quartiles = np.quantile(values, [0.25, 0.75])
    spread = min(float(values.std()), float(quartiles[1] - quartiles[0]) / 1.34)
    width = max(0.9 * spread * len(values) ** -0.2, float(places[1] - places[0]) / 2)
    kernels = np.exp(-0.5 * ((places[:, None] - values[None, :]) / width) ** 2)
    found: NDArray[np.float64] = kernels.sum(axis=1)
    found /= len(values) * width * math.sqrt(2 * math.pi)
    return found


def has_values(values: Mapping[str, Sequence[float]]) -> bool:
    """Whether there is anything to draw."""
    return any(math.isfinite(value) for column in values.values() for value in column)


def _description(title: str, values: Mapping[str, NDArray[np.float64]]) -> str:
    parts = []
    for name, column in values.items():
        low, middle, high = (number_text(float(q)) for q in np.quantile(column, [0.05, 0.5, 0.95]))
        parts.append(f"{name}: median {middle}, nine in ten between {low} and {high}")
    return f"Distribution of {title}. {'; '.join(parts)}."
