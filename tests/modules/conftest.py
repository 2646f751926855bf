"""Tiny policies in GRPO and SFT modules, and a real Trainer around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from rl4bio.data.base import Corpus, Split
from rl4bio.data.module import PromptDataModule
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.sections import AdapterConfig, GRPOConfig, OptimConfig, PolicyConfig, RolloutConfig
from rl4bio.types import PromptBatch, Sample, ScoreTable

PROMPTS = ["yes", "Does the drug lower it?", "no, or maybe: the trial", "a b c d e f g"]


class LetterScorer:
    """A reward of many values: the share of the letter e, and one over the length."""

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        letter = [text.count("e") / max(1, len(text)) for text in completions]
        short = [1 / (1 + len(text)) for text in completions]
        total = [a + 0.5 * b for a, b in zip(letter, short, strict=True)]
        return ScoreTable(
            total=total,
            parts={"letter": letter, "short": short},
            weights={"letter": 1.0, "short": 0.5},
        )


class ListCorpus(Corpus):
    """The same given samples in every split."""

    def __init__(self, rows: Sequence[Sample], *, batch_size: int = 2) -> None:
        self.rows = rows
        self.batch_size = batch_size

    def samples(self, split: Split) -> Sequence[Sample]:
        return self.rows


@pytest.fixture(scope="session")
def four_samples() -> list[Sample]:
    """Prompts of four different lengths."""
    return [
        Sample(uid=f"s{n}", prompt=prompt, demonstration=f"yes {prompt}"[: 4 + 5 * n])
        for n, prompt in enumerate(PROMPTS)
    ]


@pytest.fixture
def make_policy(tiny_folder: Callable[[str], Path]) -> Callable[..., Policy]:
    """Loads the tiny checkpoint of a family; options are those of PolicyConfig."""

    def make(family: str = "gemma3", *, lora: bool = False, **options: Any) -> Policy:
        if lora:
            options["adapter"] = AdapterConfig(rank=4, alpha=8)
        return load_policy(PolicyConfig(checkpoint=str(tiny_folder(family)), **options))

    return make


@pytest.fixture
def make_grpo(make_policy: Callable[..., Policy]) -> Callable[..., GRPOLightningModule]:
    """A GRPO module on a tiny policy; options are those of GRPOConfig."""

    def make(
        policy: Policy | None = None,
        *,
        scorer: Any = None,
        max_completion_tokens: int = 8,
        temperature: float = 0.9,
        rollout_dtype: Literal["same", "bf16"] = "same",
        optim: OptimConfig | None = None,
        cls: type[GRPOLightningModule] = GRPOLightningModule,
        **options: Any,
    ) -> GRPOLightningModule:
        return cls(
            policy or make_policy(),
            scorer or LetterScorer(),
            rollout=RolloutConfig(
                max_completion_tokens=max_completion_tokens,
                temperature=temperature,
                dtype=rollout_dtype,
                **({} if rollout_dtype == "same" else {"backend": "engine"}),
            ),
            grpo=GRPOConfig(**{"group_size": 4, **options}),
            optim=optim or OptimConfig(lr=1e-3),
            max_steps=10,
            seed=3,
        )

    return make


def make_trainer(root: Path, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        default_root_dir=root,
        **{"logger": False, **options},
    )


@pytest.fixture
def inside(tmp_path: Path) -> Callable[..., Any]:
    """Calls work(module) as the one training step of a real Trainer; gives its result."""

    def run(module: L.LightningModule, work: Callable[[Any], Any]) -> Any:
        found: list[Any] = []
        module.training_step = lambda batch, batch_idx: found.append(work(module))  # type: ignore
        options = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 0}
        trainer = make_trainer(tmp_path, **options)
        trainer.fit(module, DataLoader([PromptBatch(samples=[])], batch_size=None))
        return found[0]

    return run


@pytest.fixture
def fit(tmp_path: Path, four_samples: list[Sample]) -> Callable[..., L.Trainer]:
    """Trains a module for some optimiser steps on the four samples; gives the trainer."""

    def run(
        module: L.LightningModule,
        *,
        steps: int = 1,
        batch_size: int = 2,
        samples: Sequence[Sample] | None = None,
        **options: Any,
    ) -> L.Trainer:
        trainer = make_trainer(tmp_path, max_steps=steps, **options)
        corpus = ListCorpus(samples or four_samples, batch_size=batch_size)
        trainer.fit(module, datamodule=PromptDataModule(corpus, seed=1))
        return trainer

    return run


@pytest.fixture
def weights_of() -> Callable[[torch.nn.Module], dict[str, torch.Tensor]]:
    """A copy of every parameter of a model."""

    def copy(model: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    return copy
