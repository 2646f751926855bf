"""Tests of the benchmark objectives as rewards."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.chem.objectives import OBJECTIVES as FUNCTIONS
from rl4bio.errors import ConfigError
from rl4bio.rewards import OBJECTIVES, REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample


def test_every_objective_is_a_reward_of_its_name() -> None:
    assert {*OBJECTIVES, "qed"} == set(FUNCTIONS)
    assert set(FUNCTIONS) <= set(REWARDS.names())
    assert REWARDS.get("median1") is REWARDS.get("median1")
    assert REWARDS.get("median1") is not REWARDS.get("median2")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_golden_values(name: str, build: Callable[..., Reward], shared_data: Path) -> None:
    with (shared_data / "oracles/guacamol_golden.csv").open() as stream:
        rows = list(csv.DictReader(stream))[::7]
    reward = build(name)
    smiles = [row["smiles"] for row in rows]
    found = reward(smiles, [Sample(uid="1", prompt="")] * len(rows))
    assert found == pytest.approx([float(row[name]) for row in rows], abs=1e-6)
    assert reward(["", "C("], [Sample(uid="1", prompt="")] * 2) == [0, 0]


def test_options(build: Callable[..., Reward]) -> None:
    step = {"kind": "right_step", "high": 0.9}
    reward = build("albuterol_similarity", transform=step)
    texts = ["CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "CCO"]
    assert reward(texts, [Sample(uid="1", prompt="")] * 2) == [1, 0]
    with pytest.raises(ConfigError, match=r"rewards\[0\].options.threshold: unknown option"):
        build("albuterol_similarity", threshold=1)
    with pytest.raises(ConfigError, match="did you mean 'albuterol_similarity'"):
        build("albuterol_similarty")
