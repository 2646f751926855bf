"""Desirabilities by hand."""

from __future__ import annotations

import math

import pytest

from rl4bio.chem.modifiers import (
    arithmetic_mean,
    clipped,
    gaussian,
    geometric_mean,
    max_gaussian,
    min_gaussian,
)

HALF = math.exp(-0.5)  # one sigma from the mean


def test_gaussians() -> None:
    assert gaussian(3, mu=3, sigma=0.5) == 1
    assert gaussian(5, mu=3, sigma=2) == pytest.approx(HALF)
    assert gaussian(1, mu=3, sigma=2) == pytest.approx(HALF)
    assert gaussian(7, mu=3, sigma=2) == pytest.approx(HALF**4)  # two sigma
    assert gaussian(1e9, mu=0, sigma=1e-9) == 0


def test_one_sided_gaussians() -> None:
    assert [min_gaussian(x, mu=3, sigma=2) for x in (-9, 3)] == [1, 1]
    assert min_gaussian(5, mu=3, sigma=2) == pytest.approx(HALF)
    assert [max_gaussian(x, mu=3, sigma=2) for x in (3, 99)] == [1, 1]
    assert max_gaussian(1, mu=3, sigma=2) == pytest.approx(HALF)


def test_clipped() -> None:
    assert [clipped(x, upper=0.8) for x in (-0.1, 0, 0.2, 0.8, 1)] == [0, 0, 0.25, 1, 1]


def test_means() -> None:
    assert geometric_mean(1, 0.25) == pytest.approx(0.5)
    assert geometric_mean(0.5, 0.5, 0.5) == pytest.approx(0.5)
    assert geometric_mean(1, 1, 0) == 0
    assert arithmetic_mean(1, 0, 0.5, 0.5) == 0.5
