"""Tests of the transforms from a property to [0, 1]."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.molecules.transforms import TRANSFORMS, build_transform

BOUNDS = {"low": 0, "high": 10}
SOME: dict[str, dict[str, Any]] = {
    "sigmoid": BOUNDS,
    "reverse_sigmoid": BOUNDS,
    "double_sigmoid": BOUNDS,
    "step": BOUNDS,
    "left_step": {"low": 1},
    "right_step": {"high": 1},
    "linear": BOUNDS,
    "reverse_linear": BOUNDS,
    "gaussian": {"target": 1, "tolerance": 2},
    "range": BOUNDS,
}


def value(kind: str, x: float, **parameters: Any) -> float:
    return build_transform({"kind": kind, **parameters})(x)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (5, 1 / 2),
        (7, 10 / 11),  # h = 10 * 0.5 * (7 - 5) / (10 - 0) = 1; 1 / (1 + 10^-1)
        (3, 1 / 11),
        (9, 100 / 101),  # h = 2
        (1e300, 1.0),
        (-1e300, 0.0),
    ],
)
def test_sigmoid_has_base_10_and_its_reverse_is_the_rest(x: float, expected: float) -> None:
    assert value("sigmoid", x, low=0, high=10, k=0.5) == pytest.approx(expected, abs=1e-15)
    assert value("sigmoid", x, low=0, high=10) == pytest.approx(expected, abs=1e-15)
    assert value("reverse_sigmoid", x, low=0, high=10) == pytest.approx(1 - expected, abs=1e-15)


def test_a_steeper_sigmoid() -> None:
    # h = 10 * 0.25 * (450 - 350) / (500 - 200) = 5/6
    expected = 1 / (1 + 10 ** (-5 / 6))
    assert value("sigmoid", 450, low=200, high=500, k=0.25) == pytest.approx(expected)


@pytest.mark.parametrize(("x", "expected"), [(2.9, 0), (3, 0), (3.1, 1)])
def test_a_sigmoid_of_no_width_is_a_step(x: float, expected: float) -> None:
    assert value("sigmoid", x, low=3, high=3) == expected
    assert value("reverse_sigmoid", x, low=3, high=3) == 1 - expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (2, 1 / 2),
        (8, 1 / 2),
        (3, 10 / 11),  # 100 / 100 * (3 - 2) = 1
        (1, 1 / 11),
        (9, 1 / 101),  # 200 / 100 * (9 - 8) = 2
        (7, 100 / 101),
        (5, 1 / (1 + 10**-6)),  # the centre belongs to the right branch: 2 * (5 - 8) = -6
        (4.5, 1 / (1 + 10**-2.5)),
    ],
)
def test_double_sigmoid(x: float, expected: float) -> None:
    slopes = {"coef_div": 100, "coef_si": 100, "coef_se": 200}
    assert value("double_sigmoid", x, low=2, high=8, **slopes) == pytest.approx(expected)


def test_double_sigmoid_as_it_comes_and_hard() -> None:
    # 150 / 100 * (3 - 2) = 1.5
    assert value("double_sigmoid", 3, low=2, high=8) == pytest.approx(1 / (1 + 10**-1.5))
    hard = [value("double_sigmoid", x, low=2, high=8, coef_div=0) for x in (1.9, 2.1, 7.9, 8.1)]
    assert hard == [0, 1, 1, 0]


def test_steps_include_their_bounds() -> None:
    points = [1.9, 2, 5, 8, 8.1]
    assert [value("step", x, low=2, high=8) for x in points] == [0, 1, 1, 1, 0]
    assert [value("left_step", x, low=2) for x in points] == [1, 1, 0, 0, 0]
    assert [value("right_step", x, high=8) for x in points] == [0, 0, 0, 1, 1]


def test_linear_is_cut() -> None:
    assert [value("linear", x, low=2, high=6) for x in (0, 2, 3, 6, 9)] == [0, 0, 0.25, 1, 1]
    assert [value("reverse_linear", x, low=2, high=6) for x in (0, 3, 9)] == [1, 0.75, 0]


def test_gaussian_and_range() -> None:
    one_away = math.exp(-0.5)
    assert value("gaussian", 3, target=3, tolerance=0.5) == 1
    assert value("gaussian", 3.5, target=3, tolerance=0.5) == pytest.approx(one_away)
    assert value("gaussian", 2, target=3, tolerance=0.5) == pytest.approx(math.exp(-2))
    inside = [value("range", x, low=1, high=3) for x in (1, 2, 3)]
    assert inside == [1, 1, 1]
    # Half of the width 2 is one standard deviation.
    assert value("range", 4, low=1, high=3) == pytest.approx(one_away)
    assert value("range", -1, low=1, high=3) == pytest.approx(math.exp(-2))
    assert value("range", 3.5, low=1, high=3, tolerance=0.5) == pytest.approx(one_away)
    assert value("range", 3.5, low=1, high=3, tolerance=0) == 0


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.parametrize("x", [-1e308, -5.0, 0.0, 5.0, 1e308])
def test_every_value_is_a_score(kind: str, x: float) -> None:
    assert 0 <= value(kind, x, **SOME[kind]) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "transform.kind: is missing; known: sigmoid"),
        ({"kind": "sigmoyd"}, "unknown transform 'sigmoyd'; did you mean 'sigmoid'"),
        ({"kind": 3}, "transform.kind: unknown transform 3"),
        ({"kind": "sigmoid", "low": 1}, "transform.high: this option is required"),
        ({"kind": "step", "low": 1, "hihg": 2}, "transform.hihg: unknown.*did you mean 'high'"),
        ({"kind": "step", "low": "x", "high": 2}, "transform.low: got 'x', needs a number"),
        ({"kind": "step", "low": 3, "high": 2}, "low must not be above high"),
        ({"kind": "step", "low": math.nan, "high": 2}, "low: got nan, needs a finite number"),
        ({"kind": "linear", "low": 2, "high": 2}, "low must be below high"),
        ({"kind": "gaussian", "target": 2, "tolerance": 0}, "tolerance: got 0.0, needs a number"),
        ({"kind": "range", "low": 1, "high": 2, "tolerance": -1}, "tolerance: got -1.0"),
        ({"kind": "sigmoid", "low": 1, "high": 2, "k": -1}, "k: got -1.0, needs at least 0"),
        ({"kind": "double_sigmoid", "low": 1, "high": 2, "coef_si": -1}, "coef_si: got -1.0"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_transform(options)
