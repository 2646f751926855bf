"""Tests of the guard against repeated molecules, and of the scorer of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from rl4bio.chem.reading import Molecule
from rl4bio.chem.states import molecule_key
from rl4bio.errors import RewardError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.base import MoleculeReward
from rl4bio.rewards.repeats import RepeatGuard, build_scorer
from rl4bio.sections import MoleculesConfig, RewardConfig, RunConfig
from rl4bio.types import Sample, ScoreTable

Policy = Literal["zero", "keep"]


@dataclass(kw_only=True)
class Constant(Reward):
    """The same for every text, so that totals show what the guard did."""

    value: float = 0.5

    def score(self, completion: str, sample: Sample) -> float:
        if completion == "fail":
            raise ValueError("told to fail")
        return self.value


def guard(
    batch: Policy = "zero", seen: Policy = "zero", *, value: float = 0.5, weight: float = 1.0
) -> RepeatGuard:
    rewards = WeightedRewards(
        rewards={"validity": REWARDS.build("validity"), "constant": Constant(value=value)},
        weights={"validity": 1.0, "constant": weight},
    )
    return RepeatGuard(rewards, MoleculesConfig(batch_repeats=batch, seen_before=seen))


def score(scorer: Any, *smiles: str) -> ScoreTable:
    return scorer(list(smiles), [Sample(uid="1", prompt="") for _ in smiles])


SECOND = ["OCC", "CCN", "NCC", "C("]
"""After CCO was scored: seen, new, a copy of the new one, no molecule."""


@pytest.mark.parametrize(
    ("batch", "seen", "total"),
    [
        # The constant reads no molecules and is paid in any case.
        ("zero", "zero", [0.5, 1.5, 0.5, 0.5]),
        ("keep", "zero", [0.5, 1.5, 1.5, 0.5]),
        ("zero", "keep", [1.5, 1.5, 0.5, 0.5]),
        ("keep", "keep", [1.5, 1.5, 1.5, 0.5]),
    ],
)
def test_totals_by_policy_and_parts_as_they_were(
    batch: Policy, seen: Policy, total: list[float]
) -> None:
    scorer = guard(batch, seen)
    first = score(scorer, "CCO", "C(", "C(")
    assert (first.states, first.total) == (["valid", "invalid", "invalid"], [1.5, 0.5, 0.5])
    second = score(scorer, *SECOND)
    assert second.states == ["seen", "valid", "duplicate", "invalid"]
    assert second.total == total
    assert second.parts == {"validity": [1, 1, 1, 0], "constant": [0.5] * 4}


def test_a_copy_of_a_seen_molecule_is_a_duplicate_that_earns_nothing_either_way() -> None:
    for batch in ("zero", "keep"):
        scorer = guard(batch, "zero")
        score(scorer, "CCO")
        table = score(scorer, "CCO", "OCC")
        assert table.states == ["seen", "duplicate"]
        assert table.total == [0.5, 0.5]


def test_the_prefix_belongs_to_the_molecule() -> None:
    scorer = guard()
    samples = [Sample(uid=p, prompt=p, extra={"prefix": p}) for p in ("C", "O", "C")]
    assert scorer(["CO", "CC", "CC"], samples).states == ["valid", "duplicate", "valid"]


def test_a_repeat_of_a_punished_molecule_stays_punished() -> None:
    scorer = guard(value=2.0, weight=-1.0)
    assert score(scorer, "CCO", "CCO").total == [-1, -1]


def test_a_repeat_in_good_form_is_worth_no_less_than_no_molecule_in_good_form() -> None:
    """Or a policy that runs out of molecules would learn to write none."""
    tags = {"tags": ["reasoning", "answer"]}
    rewards = WeightedRewards.from_config(
        [RewardConfig(name="qed"), RewardConfig(name="structure", weight=0.2, options=tags)]
    )
    scorer = RepeatGuard(rewards, MoleculesConfig())
    sample = Sample(uid="1", prompt="", extra={"kind": "design", "answer_form": "tags"})
    answers = ["CCO", "OCC", "C(("]
    texts = [f"<reasoning>Small.</reasoning><answer>{answer}</answer>" for answer in answers]
    table = scorer([*texts, "CCO"], [sample] * 4)
    assert table.states == ["valid", "duplicate", "invalid", "invalid"]
    assert table.total == [pytest.approx(table.parts["qed"][0] + 0.2), 0.2, 0.2, 0]
    assert (
        RepeatGuard(WeightedRewards.from_config([RewardConfig(name="qed")]), MoleculesConfig())(
            texts[:2], [sample] * 2
        ).total[1]
        == 0
    )


def test_what_could_not_be_scored_stays_so() -> None:
    @dataclass(kw_only=True)
    class Unknown(MoleculeReward):
        def raw(self, molecule: Molecule) -> float:
            return math.nan

    rewards = WeightedRewards(rewards={"unknown": Unknown()}, weights={"unknown": 1.0})
    table = score(RepeatGuard(rewards, MoleculesConfig()), "CCO", "CCO", "C(")
    assert [math.isnan(value) for value in table.total] == [True, True, False]


def test_a_molecule_of_any_reward_is_remembered() -> None:
    rewards = WeightedRewards.from_config(
        [RewardConfig(name="validity", options={"max_fragments": 1}), RewardConfig(name="qed")]
    )
    scorer = RepeatGuard(rewards, MoleculesConfig())
    table = score(scorer, "CCO.C", "C.OCC")
    assert table.states == ["valid", "duplicate"]
    assert table.parts["validity"] == [0, 0]
    assert table.total[0] > 0
    assert table.total[1] == 0


def test_answers_to_other_tasks_are_no_molecules() -> None:
    """A reactant that is written twice is no repeat, and no later molecule repeats it."""
    scorer = guard()
    design, other = (
        Sample(uid="1", prompt="", extra={"kind": kind, "answer_form": "plain"})
        for kind in ("design", "reactants")
    )
    table = scorer(["CCO", "CCO", "CCO", "(A)"], [other, design, other, other])
    assert table.states == ["other", "valid", "other", "other"]
    assert table.total == [0.5, 1.5, 0.5, 0.5]  # validity cannot score them, the constant can
    assert scorer(["CCN", "CCN"], [other, other]).states == ["other", "other"]
    later = scorer(["CCN", "CCO", "CCO"], [design, design, other])
    assert (later.states, later.total) == (["valid", "seen", "other"], [1.5, 0.5, 0.5])


def test_nothing_is_remembered_of_a_batch_that_failed() -> None:
    scorer = guard()
    with pytest.raises(RewardError):
        score(scorer, "CCO", "fail")
    assert score(scorer, "CCO").states == ["valid"]


def test_the_memory_travels() -> None:
    one, two = guard(), guard()
    score(one, "CCO", "CCN", "C(", "CCO")
    state = one.state_dict()
    assert state == sorted(map(molecule_key, ["CCO", "CCN"]))
    assert all(-(2**63) <= key < 2**63 for key in state)
    score(two, "CCCC")
    two.load_state_dict(state)
    assert score(two, "OCC", "CCCC").states == ["seen", "valid"]


# --- the scorer of a run --------------------------------------------------------------------------


def config(*names: str) -> RunConfig:
    return RunConfig(name="x", rewards=[RewardConfig(name=name) for name in names])


def test_only_molecules_are_guarded() -> None:
    assert isinstance(build_scorer(config("verdict", "structure")), WeightedRewards)
    scorer = build_scorer(config("qed", "sa"))
    assert isinstance(scorer, RepeatGuard)
    assert score(scorer, "CCO", "OCC").total[1] == 0
    assert score(scorer.scorer, "CCO", "OCC").total[1] > 0
