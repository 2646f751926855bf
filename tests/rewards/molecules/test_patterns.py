"""Tests of the substructure and rule rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.base import Reward

SMILES = ["CC(=O)O", "CC(=O)OC", "CCN", "c1ccccc1", "C("]
ACID, AMINE = "[CX3](=O)[OX2H1]", "[NX3;H2]"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"present": [ACID]}, [1, 0, 0, 0, 0]),
        ({"absent": [ACID]}, [0, 1, 1, 1, 0]),
        ({"present": ["C"], "absent": [ACID, AMINE]}, [0, 1, 0, 0, 0]),
        ({"present": [ACID, AMINE], "mode": "any"}, [1, 0, 1, 0, 0]),
        ({"present": ["C", ACID], "absent": [AMINE], "mode": "share"}, [1, 2/3, 1/3, 1/3, 0]),
    ],
)  # fmt: skip
def test_smarts(
    options: dict[str, Any], expected: list[float], rewards_of: Callable[..., list[float]]
) -> None:
    assert rewards_of("smarts", SMILES, **options) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "present: is empty; list SMARTS"),
        ({"present": ["C", "[C"]}, r"present\[1\]: '\[C' is no SMARTS"),
        ({"absent": [""]}, r"absent\[0\]: '' is no SMARTS"),
        ({"present": ["C"], "mode": "some"}, "mode"),
        ({"presnet": ["C"]}, "presnet: unknown option; did you mean 'present'"),
    ],
)
def test_bad_smarts_are_found_at_construction(
    options: dict[str, Any], message: str, build: Callable[..., Reward]
) -> None:
    with pytest.raises(ConfigError, match=message):
        build("smarts", **options)


def test_lipinski(rewards_of: Callable[..., list[float]], build: Callable[..., Reward]) -> None:
    # A chain of 40 carbons breaks weight and logP. A hexitol has six O-H bonds, one too many.
    # A sugar trimer breaks all but logP: weight 504, 11 O-H bonds, 16 oxygens.
    trimer = "OCC1OC(O)C(O)C(O)C1OC1OC(CO)C(OC2OC(CO)C(O)C(O)C2O)C(O)C1O"
    smiles = ["CCO", "C" * 40, "OCC(O)C(O)C(O)C(O)CO", trimer, "C("]
    assert rewards_of("lipinski", smiles) == [1, 0.5, 0.75, 0.25, 0]
    assert rewards_of("lipinski", smiles, allowed=1) == [1, 0, 1, 0, 0]
    assert rewards_of("lipinski", smiles, allowed=0) == [1, 0, 0, 0, 0]
    with pytest.raises(ConfigError, match="allowed: got 4, needs 0 to 3"):
        build("lipinski", allowed=4)


def test_pains(rewards_of: Callable[..., list[float]]) -> None:
    # A quinone and an azo dye are in the lists of Baell and Holloway; aspirin is not.
    smiles = ["O=C1C=CC(=O)C=C1", "CN(C)c1ccc(cc1)N=Nc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "C("]
    assert rewards_of("pains", smiles) == [0, 0, 1, 0]
