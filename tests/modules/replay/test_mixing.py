"""Replayed rows in the update of a GRPO module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.checkpoint import RunCheckpoint
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.replay.rows import rollout_of, worth_keeping
from rl4bio.sections import ReplayConfig
from rl4bio.types import Experience, Sample, Scores
from tests.modules.recording import Recorder, experience_of

Make = Callable[..., GRPOLightningModule]


def entries_of(found: Experience, *, gains: torch.Tensor | None = None) -> list[Any]:
    rollout = dataclasses.replace(found.rollout, truncated=torch.zeros(16, dtype=torch.bool))
    totals = torch.ones(16)
    gains = torch.ones(16) if gains is None else gains
    scores = Scores(total=totals, parts={}, weights={})
    return worth_keeping(rollout, scores, gains, None)


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_rows_come_back_as_they_were(make_grpo: Make, inside: Any, four_samples: Any) -> None:
    def work(module: Any) -> None:
        found = experience_of(module, four_samples)
        entries = entries_of(found)
        assert len(entries) == 16
        again = rollout_of(entries, module.policy.pad_id, module.device)
        for name in ("prompt_mask", "completion_mask", "logprobs"):
            assert torch.equal(getattr(again, name), getattr(found.rollout, name)), name
        for ids, mask in (("prompt_ids", "prompt_mask"), ("completion_ids", "completion_mask")):
            kept = getattr(again, mask)
            assert torch.equal(getattr(again, ids)[kept], getattr(found.rollout, ids)[kept])

    inside(make_grpo(replay=ReplayConfig()), work)


def gradient_of(
    module: GRPOLightningModule,
    inside: Any,
    samples: Sequence[Sample],
    prepare: Callable[[Any, Experience], None],
) -> dict[str, torch.Tensor]:
    """What an update computes from an experience of these samples that was changed before."""

    def work(module: Any) -> None:
        experience = experience_of(module, samples)
        prepare(module, experience)
        module.update(experience)

    inside(module, work)
    return module.gradients[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("loss", ["dapo", "luspo", "grpo"])
def test_the_step_replayed_with_its_own_advantages_is_the_step(
    loss: str, make_grpo: Make, inside: Any, four_samples: Any
) -> None:
    """All rows twice, and all denominators twice: the same gradient."""

    def replay(module: Any, experience: Experience) -> None:
        rollout = rollout_of(entries_of(experience), module.policy.pad_id, module.device)
        experience.replayed = Experience(
            rollout=rollout,
            advantages=experience.advantages,
            ref_logprobs=module.reference_logprobs(rollout),
            from_memory=True,
        )

    found = [
        gradient_of(
            make_grpo(cls=Recorder, loss=loss, kl_coef=0.1, replay=ReplayConfig()),
            inside,
            four_samples,
            prepare,
        )
        for prepare in (lambda module, experience: None, replay)
    ]
    assert max(float(g.abs().max()) for g in found[0].values()) > 1e-3
    assert largest_difference(*found) < 1e-5


def test_truncated_weights_the_tokens_by_what_they_were(
    make_grpo: Make, inside: Any, four_samples: Any
) -> None:
    """Sampled when every token was twice as likely: half the weight, as half the advantage."""
    found = []
    for importance, shift, size in (("truncated", 0.6931472, 1.0), ("on_policy", 3.0, 0.5)):

        def prepare(
            module: Any, experience: Experience, shift: float = shift, size: float = size
        ) -> None:
            rollout = rollout_of(entries_of(experience), module.policy.pad_id, module.device)
            rollout.logprobs += shift
            experience.advantages = torch.zeros(16)
            experience.replayed = Experience(
                rollout=rollout,
                advantages=torch.full((16,), size),
                ref_logprobs=None,
                from_memory=True,
            )

        module = make_grpo(cls=Recorder, replay=ReplayConfig(importance=importance))
        found.append(gradient_of(module, inside, four_samples, prepare))
    assert max(float(g.abs().max()) for g in found[0].values()) > 1e-3
    assert largest_difference(*found) < 1e-5


def test_answers_are_kept_that_earned_more_than_their_group(
    make_grpo: Make, fit: Any, four_samples: Any
) -> None:
    module = make_grpo(max_completion_tokens=30, replay=ReplayConfig(rows=3, max_alike=2))
    steps: list[Any] = []
    step = module.training_step

    def kept(batch: Any, batch_idx: int) -> Any:
        steps.append(step(batch, batch_idx))
        return steps[-1]

    module.training_step = kept  # type: ignore[method-assign]
    fit(module, steps=4)
    offered = {
        (sample.uid, text): float(total)
        for out in steps
        for sample, text, total, gain, cut_off in zip(
            out["rollout"].row_samples,
            out["rollout"].completions,
            out["scores"].total,
            out["experience"].advantages,
            out["rollout"].truncated,
            strict=True,
        )
        if gain > 0 and not cut_off
    }
    assert module.memory is not None
    entries = module.memory.entries
    assert entries
    for entry in entries:
        assert offered[(entry.alike, entry.text)] == pytest.approx(entry.score)
    assert max(sum(e.alike == s.uid for e in entries) for s in four_samples) <= 2
    replayed = steps[-1]["experience"].replayed
    sizes = steps[-1]["experience"].advantages.abs().mean()
    torch.testing.assert_close(replayed.advantages, sizes.expand(len(replayed.advantages)))
    metrics = module.trainer.callback_metrics
    assert metrics["replay/size"] == len(entries)
    assert metrics["replay/score_max"] == pytest.approx(entries[0].score)


class From(pl.Callback):
    """Data from a draw on, as a resumed run takes them."""

    def __init__(self, draws: int) -> None:
        self.draws = draws

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        trainer.datamodule.draws = self.draws


def test_a_resumed_run_draws_and_learns_the_same(make_grpo: Make, fit: Any, tmp_path: Path) -> None:
    def run(folder: Path, steps: int, resume: Path | None = None) -> GRPOLightningModule:
        module = make_grpo(max_completion_tokens=30, replay=ReplayConfig(size=6, rows=3))
        checkpoint = RunCheckpoint(
            folder=str(folder), every=1, keep=9, resume_from=None if resume is None else str(resume)
        )
        fit(module, steps=steps, callbacks=[From(4 if resume else 0), checkpoint, checkpoint.last])
        return module

    whole = run(tmp_path / "whole", 4)
    resumed = run(tmp_path / "parts", 4, tmp_path / "whole" / "step-00000002")
    assert whole.memory is not None
    assert resumed.memory is not None
    assert whole.memory.entries
    assert resumed.memory.entries == whole.memory.entries
    for name, weight in whole.trainable_state().items():
        assert torch.equal(weight, resumed.trainable_state()[name]), name
