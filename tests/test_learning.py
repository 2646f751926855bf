"""A random policy learns what the reward asks for, and unlearns it where the sign is turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L
import pytest
import torch

from rl4bio.data.base import Corpus, Split
from rl4bio.data.module import PromptDataModule
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.sections import (
    AdapterConfig,
    GRPOConfig,
    LossKind,
    OptimConfig,
    PolicyConfig,
    RolloutConfig,
)
from rl4bio.types import Sample, Scores, ScoreTable

STEPS = 40


class Questions(Corpus):
    """Two prompts that ask for different letters."""

    def samples(self, split: Split) -> Sequence[Sample]:
        return [Sample(uid=letter, prompt=letter * 3, target=letter) for letter in "ae"]


def share_of_target(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
    """The share of a completion's characters that are the letter that its prompt names."""
    share = [
        text.count(str(sample.target)) / max(1, len(text))
        for text, sample in zip(completions, samples, strict=True)
    ]
    return ScoreTable(total=share, parts={"share": share}, weights={"share": 1.0})


class Turned(GRPOLightningModule):
    """The mistake that the test must notice: advantages of the wrong sign."""

    def advantages(self, scores: Scores) -> torch.Tensor:
        return -super().advantages(scores)


class Rewards(L.Callback):
    """The mean reward of every step."""

    def __init__(self) -> None:
        self.means: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        self.means.append(float(trainer.callback_metrics["reward/total_mean"]))


@pytest.fixture
def learn(tiny_policy_folder: Path, tmp_path: Path) -> Callable[..., list[float]]:
    """Trains the tiny policy; gives the mean reward of every step."""

    def run(
        cls: type[GRPOLightningModule] = GRPOLightningModule,
        *,
        lora: bool = False,
        loss: LossKind = "dapo",
        updates: int = 1,
        steps: int = STEPS,
    ) -> list[float]:
        torch.manual_seed(0)
        adapter = AdapterConfig(rank=8, alpha=16) if lora else None
        module = cls(
            load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder), adapter=adapter)),
            share_of_target,
            rollout=RolloutConfig(max_completion_tokens=6),
            grpo=GRPOConfig(
                group_size=16,
                loss=loss,
                kl_coef=0.001,
                clip_high=5.0 if loss == "cispo" else 0.28,
                updates_per_rollout=updates,
            ),
            optim=OptimConfig(lr=0.01 if not lora else 0.03),
            max_steps=steps,
        )
        rewards = Rewards()
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps * updates,
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[rewards],
            default_root_dir=tmp_path,
        )
        trainer.fit(module, datamodule=PromptDataModule(Questions(batch_size=2), seed=1))
        assert len(rewards.means) == steps
        return rewards.means

    return run


def ends(rewards: list[float]) -> tuple[float, float]:
    """Mean reward of the first and of the last five steps."""
    return sum(rewards[:5]) / 5, sum(rewards[-5:]) / 5


@pytest.mark.parametrize(
    ("lora", "loss", "updates"),
    [(False, "dapo", 1), (True, "dapo", 1), (False, "dr_grpo", 1), (False, "cispo", 1),
     (False, "grpo", 2)],
)  # fmt: skip
def test_the_reward_rises(
    learn: Callable[..., list[float]], lora: bool, loss: LossKind, updates: int
) -> None:
    """From about 0.03 (a few of 307 tokens hold the letter) to most of the text."""
    rewards = learn(lora=lora, loss=loss, updates=updates)
    first, last = ends(rewards)
    assert rewards[0] < 0.1
    assert last > 0.5
    assert last > first + 0.3


def test_the_reward_does_not_rise_with_the_sign_turned(learn: Callable[..., list[float]]) -> None:
    first, last = ends(learn(Turned))
    assert last <= first
    assert last < 0.02
