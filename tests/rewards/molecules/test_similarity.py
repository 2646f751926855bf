"""Tests of the similarity reward."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample

ALBUTEROL = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
SPELLED_OTHERWISE = "c1(CO)c(O)ccc(C(CNC(C)(C)C)O)c1"
KINDS = ["ECFP4", "ECFP6", "FCFP4", "FCFP6", "AP"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_itself_is_1_however_it_is_spelled(
    kind: str, rewards_of: Callable[..., list[float]]
) -> None:
    found = rewards_of(
        "similarity", [SPELLED_OTHERWISE, "CCO", "C("], reference=ALBUTEROL, kind=kind
    )
    assert found[0] == 1
    assert 0 < found[1] < 0.5
    assert found[2] == 0


def test_by_hand(rewards_of: Callable[..., list[float]]) -> None:
    # ECFP4 counts. Ethane: the methyl twice, its surroundings once (both are the same bond).
    # Propane: the methyl twice, the middle once, the surroundings of each: 6 in all. The methyl is
    # common to both: min(2, 2) / (3 + 6 - 2).
    found = rewards_of("similarity", ["CCC"], reference="CC")
    assert found == [pytest.approx(2 / 7)]


def test_the_threshold_saturates(build: Callable[..., Reward]) -> None:
    plain = build("similarity", reference=ALBUTEROL, kind="FCFP4")
    clipped = build("similarity", reference=ALBUTEROL, kind="FCFP4", threshold=0.5)
    near = "CC(C)(C)NCC(O)c1ccc(O)c(C)c1"
    far = "CCO"
    args: Any = ([near, far, ALBUTEROL], [Sample(uid="1", prompt="")] * 3)
    a, b, c = plain(*args)
    assert 0.5 < a < 1
    assert clipped(*args) == [1, pytest.approx(b / 0.5), 1]
    assert clipped.raw_values(*args)[""] == [a, b, c]


def test_bounds(rewards_of: Callable[..., list[float]]) -> None:
    # Propane has 2/7 = 0.286 of ethane (above), methane nothing, ethane all.
    smiles = ["CCC", "C", "CC", "C("]
    inside = rewards_of("similarity", smiles, reference="CC", low=0.2, high=0.8)
    # Methane lies two tolerances of 0.1 below the bounds, ethane two above.
    edge = math.exp(-(2**2) / 2)
    assert inside == pytest.approx([1, edge, edge, 0])
    hard = rewards_of("similarity", smiles, reference="CC", low=0.2, high=0.8, tolerance=0)
    assert hard == [1, 0, 0, 0]
    at_least = rewards_of("similarity", smiles, reference="CC", low=0.2, tolerance=0)
    assert at_least == [1, 0, 1, 0]
    at_most = rewards_of("similarity", smiles, reference="CC", high=0.2, tolerance=0)
    assert at_most == [0, 1, 0, 0]


def test_without_a_reference_the_input_is_the_reference(build: Callable[..., Reward]) -> None:
    reward = build("similarity")
    inputs = [SPELLED_OTHERWISE, "CC", "", "CC"]
    samples = [Sample(uid="1", prompt="", extra={"input": text}) for text in inputs]
    found = reward([ALBUTEROL, "CCC", "CCC", "C("], samples)
    assert found == pytest.approx([1, 2 / 7, math.nan, 0], nan_ok=True)
    raws = reward.raw_values([ALBUTEROL, "CCC", "CCC", "C("], samples)[""]
    assert raws == pytest.approx([1, 2 / 7, math.nan, math.nan], nan_ok=True)
    named = build("similarity", reference="CC")
    assert named(["CCC"], samples[:1]) == [pytest.approx(2 / 7)]
    with pytest.raises(ValueError, match="this corpus has no input molecules"):
        reward(["CCC"], [Sample(uid="1", prompt="")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "C(("}, r"reference: 'C\(\(' is no SMILES \(syntax\)"),
        ({"reference": ""}, r"reference: '' is no SMILES \(empty\)"),
        ({"reference": "C", "kind": "MACCS"}, "kind"),
        ({"reference": "C", "threshold": 0}, "threshold: got 0.0"),
        ({"reference": "C", "threshold": 1.5}, "threshold: got 1.5"),
        ({"low": 0.6, "high": 0.4}, "low, high: got 0.6, 0.4, needs 0 <= low <= high <= 1"),
        ({"high": 1.1}, r"low, high: got 0.0, 1.1"),
        ({"low": -0.1}, r"low, high: got -0.1, 1.0"),
        ({"low": 0.4, "tolerance": -1}, "tolerance: got -1"),
        ({"tolerance": 0.1}, "tolerance: goes with low and high"),
        ({"low": 0.4, "threshold": 0.5}, "more than one form"),
        ({"high": 0.4, "transform": {"kind": "step", "low": 0, "high": 1}}, "more than one form"),
    ],
)
def test_refused(options: dict[str, Any], message: str, build: Callable[..., Reward]) -> None:
    with pytest.raises(ConfigError, match=message):
        build("similarity", **options)
