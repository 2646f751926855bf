"""What counts as a call, where the budget ends, and that nothing is scored twice."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from rl4bio.chem.reading import Molecule
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.base import MoleculeReward
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import MoleculesConfig
from rl4bio.statistics.calls import top_auc
from rl4bio.types import Sample, ScoreTable


@dataclass(kw_only=True)
class Atoms(MoleculeReward):
    """A tenth of the heavy atoms; notes what it was asked."""

    asked: list[str] = field(default_factory=list)

    def raw(self, molecule: Molecule) -> float:
        return float(molecule.mol.GetNumHeavyAtoms())

    def value(self, raw: float) -> float:
        return raw / 10

    def score(self, completion: str, sample: Sample) -> float:
        self.asked.append(completion)
        return super().score(completion, sample)


@dataclass(kw_only=True)
class Short(Reward):
    """Of the text alone: one over its length."""

    def score(self, completion: str, sample: Sample) -> float:
        return 1 / len(completion)


def guard(max_calls: int | None, *, text: bool = False, **section: Any) -> RepeatGuard:
    parts: dict[str, Reward] = {"atoms": Atoms(), **({"short": Short()} if text else {})}
    rewards = WeightedRewards(rewards=parts, weights=dict.fromkeys(parts, 1.0))
    options = {"batch_repeats": "keep", "seen_before": "keep", **section}
    return RepeatGuard(rewards, MoleculesConfig(max_calls=max_calls, **options))


def asked(scorer: RepeatGuard) -> list[str]:
    reward = scorer.scorer.rewards["atoms"]
    assert isinstance(reward, Atoms)
    return reward.asked


def score(scorer: RepeatGuard, *texts: str) -> ScoreTable:
    return scorer(list(texts), [Sample(uid=str(n), prompt="") for n in range(len(texts))])


def approx(*values: float) -> Any:
    return pytest.approx(list(values), nan_ok=True)


def test_a_call_is_a_new_molecule() -> None:
    scorer = guard(10)
    first = score(scorer, "CCO", "OCC", "C(", "CC", "")
    assert first.total == approx(0.3, 0.3, 0.0, 0.2, 0.0)
    assert asked(scorer) == ["CCO", "C(", "CC", ""]  # the copy is not asked about
    second = score(scorer, "C(C)O", "CCCC", "CC")
    assert second.total == approx(0.3, 0.4, 0.2)
    assert second.raw["atoms"] == approx(3, 4, 2)
    assert second.states == ["seen", "valid", "seen"]
    assert asked(scorer)[4:] == ["CCCC"]
    assert scorer.ledger is not None
    assert [call.canonical for call in scorer.ledger.calls.values()] == ["CCO", "CC", "CCCC"]
    # A salt is the same molecule for the guard, and a call for the scoring function.
    assert score(scorer, "CCO.Cl").states == ["seen"]
    assert scorer.ledger.left == 10 - 4


def test_nothing_is_scored_beyond_the_budget() -> None:
    scorer = guard(3)
    table = score(scorer, "C", "CC", "CC", "N(", "CCC", "CCCC", "CCCCC")
    assert table.total == approx(0.1, 0.2, 0.2, 0.0, 0.3, math.nan, math.nan)
    assert table.parts["atoms"] == approx(0.1, 0.2, 0.2, 0.0, 0.3, math.nan, math.nan)
    assert score(scorer, "CCCC", "CC").total == approx(math.nan, 0.2)
    assert "CCCC" not in asked(scorer)
    assert scorer.ledger is not None
    assert scorer.ledger.left == 0


def test_without_repeats_it_gives_what_the_guard_gives_without_it() -> None:
    for section in ({}, {"seen_before": "zero"}, {"batch_repeats": "zero", "seen_before": "zero"}):
        plain, counted = (guard(n, text=True, **section) for n in (None, 100))
        for texts in (["CCO", "OCC", "C("], ["CCC", "CCO", "CCC", "CN"]):
            one, other = score(plain, *texts), score(counted, *texts)
            assert one.total == approx(*other.total)
            assert one.states == other.states
            for name, values in one.parts.items():
                assert values == approx(*other.parts[name])
            assert one.raw["atoms"] == approx(*other.raw["atoms"])


def test_rewards_of_the_text_are_of_the_text_at_hand() -> None:
    scorer = guard(10, text=True)
    score(scorer, "CCO")
    assert score(scorer, "C(C)O").parts["short"] == approx(1 / 5)


def test_the_same_molecule_for_another_input_is_another_call() -> None:
    scorer = guard(10)
    samples = [Sample(uid="1", prompt="", extra={"input": text}) for text in ("CC", "CN", "CC")]
    scorer(["CCO"] * 3, samples)
    assert len(asked(scorer)) == 2


def test_numbers_are_those_of_the_benchmark() -> None:
    scorer = guard(10)
    assert scorer.numbers()["molecules/calls"] == 0
    score(scorer, "C", "CCCCC", "CCC")
    numbers = scorer.numbers()
    assert numbers["molecules/calls"] == 3
    assert numbers["molecules/top1"] == pytest.approx(0.5)
    assert numbers["molecules/top10"] == pytest.approx(0.3)
    assert numbers["molecules/auc_top10"] == pytest.approx(top_auc([0.1, 0.5, 0.3], 10, 10))
    assert guard(None).numbers() == {}


def test_a_checkpoint_holds_the_account() -> None:
    scorer = guard(10)
    score(scorer, "CCO", "CC", "C(")
    ledger = scorer.memories["ledger"]
    again = guard(10)
    again.memories["ledger"].load_state_dict(json.loads(json.dumps(ledger.state_dict())))
    assert again.ledger is not None
    assert again.ledger.calls == ledger.calls
    assert score(again, "CCO").total == approx(0.3)
    assert asked(again) == []


def together(batches: Sequence[Sequence[str]], max_calls: int) -> list[tuple[RepeatGuard, Any]]:
    """Each batch scored by a rank of its own, all at once."""
    ranks = len(batches)
    barrier = threading.Barrier(ranks)
    slots: list[list[Any]] = [[]] * ranks
    found: list[Any] = [None] * ranks

    def work(rank: int) -> None:
        def gather(values: list[Any]) -> list[Any]:
            slots[rank] = values
            barrier.wait()
            together = [value for part in slots for value in part]
            barrier.wait()
            return together

        scorer = guard(max_calls)
        scorer.join(gather, rank)
        found[rank] = scorer, score(scorer, *batches[rank])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


def test_ranks_have_one_account() -> None:
    (first, one), (second, two) = together([["CCO", "C", "C("], ["OCC", "CC", "CCC"]], 3)
    # CCO, which both have, C and CC are the three; rank 0 is asked about CCO.
    assert one.total == approx(0.3, 0.1, 0.0)
    assert two.total == approx(0.3, 0.2, math.nan)
    assert (asked(first), asked(second)) == (["CCO", "C", "C("], ["CC"])
    assert first.ledger is not None
    assert second.ledger is not None
    assert first.ledger.calls == second.ledger.calls
    assert list(first.ledger.calls) == list(second.ledger.calls)
