"""Tests of the similarity reward."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "reference: this option is required"),
        ({"reference": "C(("}, r"reference: 'C\(\(' is no SMILES \(syntax\)"),
        ({"reference": ""}, r"reference: '' is no SMILES \(empty\)"),
        ({"reference": "C", "kind": "MACCS"}, "kind"),
        ({"reference": "C", "threshold": 0}, "threshold: got 0.0"),
        ({"reference": "C", "threshold": 1.5}, "threshold: got 1.5"),
    ],
)
def test_refused(options: dict[str, Any], message: str, build: Callable[..., Reward]) -> None:
    with pytest.raises(ConfigError, match=message):
        build("similarity", **options)
