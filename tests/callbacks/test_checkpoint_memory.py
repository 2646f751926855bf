"""A scorer's memory in checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.checkpoint import RunCheckpoint
from rl4bio.callbacks.checkpoint_state import restore_memory
from rl4bio.chem.states import molecule_key
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.molecules.properties import ValidityReward
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import MoleculesConfig
from rl4bio.storage import load_checkpoint_folder
from rl4bio.types import Sample

STEPS = [["CCO", "CCN"], ["CCC", "OCC"], ["CCCC", "C("]]


def guard() -> RepeatGuard:
    rewards = WeightedRewards(rewards={"validity": ValidityReward()}, weights={"validity": 1.0})
    return RepeatGuard(rewards, MoleculesConfig())


def keys(*steps: Sequence[str]) -> set[int]:
    return {molecule_key(c) for step in steps for c in step} - {
        molecule_key("C("),
        molecule_key("OCC"),
    }


@pytest.fixture
def make(step_module: Any) -> Callable[..., Any]:
    """A module that scores the molecules of STEPS, one list a step."""

    class Guarded(step_module):
        draws = 0

        def trainable_state(self) -> dict[str, torch.Tensor]:
            return {"weight": self.weight.detach()}

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.scorer is not None:
                texts = STEPS[self.iteration]
                self.scorer(texts, [Sample(uid="1", prompt="") for _ in texts])
            return super().training_step(batch, batch_idx)

    def make(scorer: Any) -> Any:
        module = Guarded([[1.0, 0.0, 1.0, 1.0]], [None])
        module.scorer = scorer
        return module

    return make


def run(run_steps: Any, module: Any, folder: Path, steps: int, resume: int = 0) -> None:
    found = str(folder / f"step-{resume:08d}") if resume else None
    checkpoint = RunCheckpoint(folder=str(folder), every=1, keep=9, resume_from=found)
    run_steps([checkpoint, checkpoint.last], steps=steps, module=module)


def test_a_resumed_run_knows_what_it_had_seen_by_then(
    run_steps: Callable[..., pl.Trainer], make: Callable[..., Any], tmp_path: Path
) -> None:
    run(run_steps, make(guard()), tmp_path, 3)
    resumed = guard()
    run(run_steps, make(resumed), tmp_path, 2, resume=1)
    assert resumed.seen == keys(*STEPS[:2])
    for step in (1, 2, 3):
        tensors, _ = load_checkpoint_folder(tmp_path / f"step-{step:08d}")
        assert set(tensors["scorer"]["rank0"].tolist()) == keys(*STEPS[:step])


def test_a_scorer_without_memory_leaves_no_trace_and_needs_none(
    run_steps: Callable[..., pl.Trainer], make: Callable[..., Any], tmp_path: Path
) -> None:
    run(run_steps, make(None), tmp_path, 1)
    folder = tmp_path / "step-00000001"
    assert not (folder / "scorer.safetensors").exists()
    later = guard()
    run(run_steps, make(later), tmp_path, 2, resume=1)
    assert later.seen == keys(STEPS[1], ["CCO"])


def test_ranks_get_their_own_and_another_number_of_ranks_gets_all() -> None:
    class Module:
        scorer = guard()

        class trainer:
            world_size = 2

    memories = {"rank0": torch.tensor([1, -2]), "rank1": torch.tensor([3, 1])}
    restore_memory(Module, memories, 1)
    assert Module.scorer.seen == {3, 1}
    Module.trainer.world_size = 1
    restore_memory(Module, memories, 0)
    assert Module.scorer.seen == {1, -2, 3}
