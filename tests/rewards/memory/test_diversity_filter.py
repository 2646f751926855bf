"""Buckets of scaffolds, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.scaffolds import topological_scaffold
from rl4bio.errors import ConfigError
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.memory.diversity_filter import DiversityFilter, share_kept
from rl4bio.rewards.molecules.properties import ValidityReward
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import DiversityConfig, MoleculesConfig
from rl4bio.types import Sample


def guard(**options: Any) -> RepeatGuard:
    rewards = WeightedRewards(rewards={"validity": ValidityReward()}, weights={"validity": 1.0})
    return RepeatGuard(rewards, MoleculesConfig(diversity=DiversityConfig(**options)))


def totals(scorer: RepeatGuard, *texts: str) -> list[float]:
    return scorer(list(texts), [Sample(uid="1", prompt="") for _ in texts]).total


def buckets(scorer: RepeatGuard) -> dict[str, int]:
    assert scorer.diversity is not None
    return scorer.diversity.buckets


def test_a_full_bucket_pays_nothing() -> None:
    scorer = guard(bucket_size=2)
    # Benzene's scaffold thrice, no ring twice, pyridine's once, and what is none.
    found = totals(scorer, "Cc1ccccc1", "CCO", "Oc1ccccc1", "Nc1ccccc1", "CCN", "Cc1ccncc1", "C(")
    assert found == [1, 1, 1, 0, 1, 1, 0]
    assert buckets(scorer) == {"c1ccccc1": 3, "": 2, "c1ccncc1": 1}
    assert totals(scorer, "Fc1ccccc1", "CCCC") == [0, 0]
    numbers = scorer.numbers()
    assert numbers["molecules/scaffolds"] == 3
    assert numbers["molecules/full_scaffolds"] == 2
    assert numbers["molecules/filtered_fraction"] == pytest.approx(3 / 8)


def test_repeats_and_poor_molecules_fill_no_bucket() -> None:
    scorer = guard(bucket_size=5)
    totals(scorer, "Cc1ccccc1", "Cc1ccccc1", "c1(C)ccccc1")
    totals(scorer, "Cc1ccccc1")
    assert buckets(scorer) == {"c1ccccc1": 1}
    poor = guard(min_score=1.5)
    totals(poor, "Cc1ccccc1")
    assert buckets(poor) == {}


def test_soft_penalties_by_hand() -> None:
    shares = [share_kept("linear", n, 4) for n in range(6)]
    assert shares == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    assert share_kept("sigmoid", 2, 4) == pytest.approx(0.5)
    assert share_kept("sigmoid", 0, 4) == pytest.approx(0.998729)  # 1 / (1 + exp(-1 / .15))
    assert share_kept("tanh", 0, 4) == 1
    assert share_kept("tanh", 4, 4) == pytest.approx(1 - 0.9640276)  # tanh 2
    assert share_kept("sigmoid", 10**6, 1) == pytest.approx(0, abs=1e-12)
    scorer = guard(bucket_size=4, penalty="linear")
    assert totals(scorer, "Cc1ccccc1", "Oc1ccccc1", "Nc1ccccc1") == pytest.approx([1, 0.75, 0.5])


def test_topological_scaffolds_forget_elements_and_bonds() -> None:
    assert topological_scaffold(read_smiles("Cc1ccncc1")) == "C1CCCCC1"
    assert topological_scaffold(read_smiles("CCO")) == ""
    scorer = guard(kind="topological", bucket_size=2)
    assert totals(scorer, "Cc1ccccc1", "Cc1ccncc1", "CC1CCOCC1") == [1, 1, 0]


def test_similar_scaffolds_are_one() -> None:
    near, far = "c1ccc(-c2ccncc2)cc1", "C1CC1"
    scorer = guard(kind="similarity", min_similarity=0.4)
    totals(scorer, "c1ccc(-c2ccccc2)cc1", near, far)
    assert buckets(scorer) == {"c1ccc(-c2ccccc2)cc1": 2, "C1CC1": 1}
    strict = guard(kind="similarity", min_similarity=1.0)
    totals(strict, "c1ccc(-c2ccccc2)cc1", near, far)
    assert len(buckets(strict)) == 3


def test_processes_share_their_buckets_and_checkpoints_hold_them() -> None:
    scorer = guard(bucket_size=3)
    totals(scorer, "Cc1ccccc1", "C1CC1C")
    scorer.share(lambda own: ["c1ccccc1", *own] if own and isinstance(own[0], str) else own)
    assert buckets(scorer) == {"c1ccccc1": 2, "C1CC1": 1}
    totals(scorer, "Oc1ccccc1")
    scorer.share(list)
    assert buckets(scorer) == {"c1ccccc1": 3, "C1CC1": 1}
    again = guard(bucket_size=3)
    state = json.loads(json.dumps(scorer.memories["diversity"].state_dict()))
    again.memories["diversity"].load_state_dict(state)
    assert buckets(again) == buckets(scorer)
    assert totals(again, "Nc1ccccc1") == [0]


def test_limits_of_the_section() -> None:
    with pytest.raises(ConfigError, match="bucket_size"):
        DiversityConfig(bucket_size=0)
    with pytest.raises(ConfigError, match="at most 1"):
        DiversityConfig(min_similarity=1.5)
    assert isinstance(DiversityFilter(DiversityConfig()).buckets, dict)
