"""Tests of the property rewards."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
COLUMNS = {"qed": "qed", "sa": "sas", "logp": "logp", "tpsa": "tpsa"}
IDENTITY = {"kind": "linear", "low": 0, "high": 1}


def options_for(name: str) -> dict[str, Any]:
    return {} if name in ("qed", "sa", "validity") else {"low": 0, "high": 1}


@pytest.mark.parametrize("name", COLUMNS)
def test_raw_values_are_those_of_published_columns(
    name: str, build: Callable[..., Reward], moses_rows: list[dict[str, str]]
) -> None:
    smiles = [row["smiles"] for row in moses_rows]
    # The completion goes on behind the sample's prefix.
    samples = [Sample(uid=str(n), prompt="", extra={"prefix": s[0]}) for n, s in enumerate(smiles)]
    reward = build(name, **options_for(name))
    found = reward.raw_values([s[1:] for s in smiles], samples)[""]
    expected = [float(row[COLUMNS[name]]) for row in moses_rows]
    assert found == pytest.approx(expected, abs=1e-4)
    if name == "qed":
        assert reward([s[1:] for s in smiles], samples) == found
    if name == "sa":
        scores = [(10 - raw) / 9 for raw in found]
        assert reward([s[1:] for s in smiles], samples) == pytest.approx(scores)


def test_aspirin_by_hand(rewards_of: Callable[..., list[float]]) -> None:
    # C9H8O4: 9 * 12.011 + 8 * 1.008 + 4 * 15.999 = 180.159
    target = {"target": 180.159 + 10, "tolerance": 10}
    (weight,) = rewards_of("molecular_weight", [ASPIRIN], **target)
    assert weight == pytest.approx(math.exp(-0.5), rel=1e-3)
    # An ester, C=O 17.07 and -O- 9.23; an acid, C=O 17.07 and O-H 20.23: 63.60 in all.
    (area,) = rewards_of("tpsa", [ASPIRIN], transform={"kind": "linear", "low": 0, "high": 127.2})
    assert area == pytest.approx(0.5)


def test_validity(rewards_of: Callable[..., list[float]]) -> None:
    assert rewards_of("validity", [ASPIRIN, "", "C(", "CCO ", "[H][H]"]) == [1, 0, 0, 0, 0]
    assert rewards_of("validity", ["CCCC", "CCCCC"], max_heavy_atoms=4) == [1, 0]
    assert rewards_of("validity", ["C(C)C", "CCC"], max_characters=3) == [0, 1]
    assert rewards_of("validity", ["CCO.Cl", "CCO"], max_fragments=1) == [0, 1]
    assert rewards_of("validity", ["C.C.C", "C.C"], max_fragments=2) == [0, 1]


@pytest.mark.parametrize("name", ["qed", "sa", "logp", "tpsa", "molecular_weight"])
def test_what_is_no_molecule_scores_0_and_has_no_raw_value(
    name: str, build: Callable[..., Reward]
) -> None:
    # A step at 0 would pay everything that had a value.
    reward = build(name, transform={"kind": "right_step", "high": -1e9})
    samples = [Sample(uid="1", prompt="") for _ in range(3)]
    assert reward(["CCO", "", "CC("], samples) == [1, 0, 0]
    raw = reward.raw_values(["CCO", "", "CC("], samples)[""]
    assert [math.isnan(value) for value in raw] == [False, True, True]


def test_the_prefix_belongs_to_the_molecule(build: Callable[..., Reward]) -> None:
    qed = build("qed")
    whole = qed([ASPIRIN], [Sample(uid="1", prompt="")])
    behind = qed([ASPIRIN[1:]], [Sample(uid="1", prompt="C", extra={"prefix": "C"})])
    assert whole == behind
    assert qed(["="], [Sample(uid="1", prompt="C", extra={"prefix": "C"})]) == [0]


@pytest.mark.parametrize("name", ["logp", "tpsa", "molecular_weight"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"has no usual direction; give a range such as \{low: \d+, high: \d+\}"),
        ({"low": 1}, "has no usual direction"),
        ({"target": 1, "low": 1, "high": 2}, "has no usual direction"),
        ({"target": 1}, "tolerance: is needed with target"),
        ({"low": 1, "transform": IDENTITY}, "transform: stands beside"),
        ({"low": 3, "high": 1}, "low must not be above high"),
        ({"max_heavy_atoms": 0, "low": 1, "high": 2}, "max_heavy_atoms: got 0"),
        ({"lwo": 1}, "lwo: unknown option; did you mean 'low'"),
    ],
)
def test_refused(
    name: str, options: dict[str, Any], message: str, build: Callable[..., Reward]
) -> None:
    with pytest.raises(ConfigError, match=r"^rewards\[0\].options.*" + message):
        build(name, **options)
