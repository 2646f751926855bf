"""Tests of the rewards that compare the molecules of a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rl4bio.rewards.base import Reward
from rl4bio.types import Sample


def test_by_hand(rewards_of: Callable[..., list[float]]) -> None:
    # ECFP4 similarity of ethane and propane is 2/7, of copies 1, of methane to either 0.
    two = rewards_of("diversity", ["CC", "CCC"])
    assert two == pytest.approx([5 / 7, 5 / 7])
    four = rewards_of("diversity", ["CC", "CCC", "CC", "C"])
    mean_ethane = (2 / 7 + 1 + 0) / 3
    assert four == pytest.approx([1 - mean_ethane, 1 - (4 / 7) / 3, 1 - mean_ethane, 1])


def test_invalid_ones_score_0_and_change_nothing(rewards_of: Callable[..., list[float]]) -> None:
    assert rewards_of("diversity", ["CC", "C(", "CCC", ""]) == pytest.approx([5 / 7, 0, 5 / 7, 0])
    assert rewards_of("diversity", ["C(", "CC"]) == [0, 1]
    assert rewards_of("diversity", []) == []
    assert rewards_of("scaffold_diversity", ["C(", "CC"]) == [0, 1]


def test_a_batch_of_copies_is_worth_nothing(rewards_of: Callable[..., list[float]]) -> None:
    assert rewards_of("diversity", ["CCO", "OCC", "C(C)O"]) == [0, 0, 0]


def test_scaffolds(rewards_of: Callable[..., list[float]]) -> None:
    smiles = ["Cc1ccccc1", "Oc1ccccc1", "c1ccccc1CCN", "C1CCCCC1", "CCO", "CCN", "C("]
    # Three on benzene, one on cyclohexane, two without a ring.
    found = rewards_of("scaffold_diversity", smiles)
    assert found == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2, 0])
    assert sum(found) == pytest.approx(3)  # different scaffolds


@pytest.mark.parametrize("name", ["diversity", "scaffold_diversity"])
def test_groups_are_those_of_one_sample(name: str, build: Callable[..., Reward]) -> None:
    samples = [Sample(uid=uid, prompt="") for uid in "aabb"]
    smiles = ["CCO", "OCC", "CCO", "c1ccccc1"]
    together, apart = build(name), build(name, among="group")
    assert apart(smiles, samples)[:2] == apart(smiles[:2], samples[:2])
    assert apart(smiles, samples)[2:] == apart(smiles[2:], samples[2:])
    assert together(smiles, samples)[2] != apart(smiles, samples)[2]


@pytest.mark.parametrize("name", ["diversity", "scaffold_diversity"])
def test_order_does_not_matter(name: str, rewards_of: Callable[..., list[float]]) -> None:
    smiles = ["CCO", "c1ccccc1O", "CC(C)N", "c1ccccc1N", "C(", "CCO"]
    assert rewards_of(name, smiles[::-1])[::-1] == pytest.approx(rewards_of(name, smiles))
