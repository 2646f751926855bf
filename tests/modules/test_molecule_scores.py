"""States and raw values of molecules on their way through a GRPO step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.modules.batching import join_groups, take_groups
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.step_metrics import step_sums
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.base import MoleculeReward
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import MoleculesConfig
from rl4bio.types import Sample, Scores

SPELLED = ["CCO", "OCC", "CCN", "C(", "c1ccccc1"]


@dataclass(kw_only=True)
class Spelled(MoleculeReward):
    """Reads a text of the toy tokenizer as one of five SMILES, chosen by its length."""

    def molecule(self, completion: str, sample: Sample) -> Molecule:
        return read_smiles(SPELLED[len(completion) % len(SPELLED)])

    def raw(self, molecule: Molecule) -> float:
        return float(molecule.mol.GetNumHeavyAtoms())

    def value(self, raw: float) -> float:
        return raw / 10


def guard() -> RepeatGuard:
    rewards = WeightedRewards(rewards={"atoms": Spelled()}, weights={"atoms": 1.0})
    return RepeatGuard(rewards, MoleculesConfig())


@pytest.fixture
def steps(
    make_grpo: Callable[..., GRPOLightningModule], fit: Callable[..., L.Trainer]
) -> Callable[..., tuple[GRPOLightningModule, list[Any]]]:
    """Trains with the guard; the module and what each step returned."""

    def run(**options: Any) -> tuple[GRPOLightningModule, list[Any]]:
        module = make_grpo(scorer=guard())
        found: list[Any] = []
        step = module.training_step

        def kept(batch: Any, batch_idx: int) -> Any:
            found.append(step(batch, batch_idx))
            return found[-1]

        module.training_step = kept  # type: ignore[method-assign]
        fit(module, **options)
        return module, found

    return run


def test_states_raw_values_and_metrics(steps: Callable[..., Any]) -> None:
    module, found = steps(steps=2)
    again = guard()
    for output in found:
        rollout, scores = output["rollout"], output["scores"]
        table = again(rollout.completions, rollout.row_samples)
        assert scores.states == table.states
        assert scores.total.tolist() == pytest.approx(table.total)
        assert scores.raw["atoms"] == pytest.approx(table.raw["atoms"], nan_ok=True)
    states = found[-1]["scores"].states
    metrics = module.trainer.callback_metrics
    for name, wanted in {
        "valid": {"valid", "duplicate", "seen"},
        "duplicate": {"duplicate"},
        "seen": {"seen"},
    }.items():
        share = sum(state in wanted for state in states) / len(states)
        assert metrics[f"reward/{name}_fraction"].item() == pytest.approx(share)
    # Eight rows of at most four molecules.
    assert metrics["reward/duplicate_fraction"] > 0
    assert module.scorer.seen


def test_validation_neither_reads_nor_fills_the_memory(steps: Callable[..., Any]) -> None:
    module, found = steps(val_check_interval=1, check_val_every_n_epoch=None, max_epochs=-1)
    rollout = found[0]["rollout"]
    again = guard()
    again(rollout.completions, rollout.row_samples)
    assert module.scorer.seen == again.seen
    assert module.unguarded is module.scorer.scorer
    # With the guard the sum of the part would be more than that of the total.
    metrics = module.trainer.callback_metrics
    assert metrics["val/reward_mean"] == metrics["val/atoms_mean"]


def test_another_scorer_has_no_states(
    make_grpo: Callable[..., GRPOLightningModule], fit: Callable[..., L.Trainer]
) -> None:
    module = make_grpo()
    fit(module)
    assert "reward/valid_fraction" not in module.trainer.callback_metrics
    assert module.unguarded is module.scorer


def test_shares_are_of_the_rows_that_ask_for_a_molecule(
    steps: Callable[..., Any],
) -> None:
    _, found = steps(steps=1)
    rollout, terms = found[0]["rollout"], found[0]["loss_terms"]
    states: list[Any] = ["valid", "other", "duplicate", "invalid", *["other"] * 4]
    scores = dataclasses.replace(found[0]["scores"], states=states)
    sums = step_sums(rollout, scores, terms)
    assert sums["reward/valid_fraction"] == (2, 3)
    assert sums["reward/duplicate_fraction"] == (1, 3)


def test_taking_and_joining_keeps_them_in_their_rows() -> None:
    scores = Scores(
        total=torch.arange(6.0),
        parts={"a": torch.arange(6.0)},
        weights={"a": 1.0},
        states=["valid", "invalid", "duplicate", "seen", "valid", "valid"],
        raw={"a": [0.0, math.nan, 2.0, 3.0, 4.0, 5.0]},
    )
    joined = join_groups([take_groups(scores, [2], 2), take_groups(scores, [0, 1], 2)])
    assert joined.states == ["valid", "valid", "valid", "invalid", "duplicate", "seen"]
    assert joined.raw["a"] == pytest.approx([4, 5, 0, math.nan, 2, 3], nan_ok=True)
    plain = Scores(total=torch.arange(4.0), parts={}, weights={})
    joined = join_groups([take_groups(plain, [1], 2), take_groups(plain, [0], 2)])
    assert (joined.states, joined.raw) == (None, {})
