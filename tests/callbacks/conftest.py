"""A real Trainer and a tiny module whose steps return chosen rewards and log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from rl4bio.types import Experience, LossTerms, PromptBatch, Rollout, Sample, Scores

GROUP_SIZE = 2
COMPLETIONS = [
    "<thought>the rate fell by half</thought><answer>yes</answer>",
    "no\x1b[31m",
    "maybe",
    "",
]
LENGTHS = [4, 3, 2, 0]
LOGPROBS = -1.0
REF_LOGPROBS = -1.5


def rollout_of_four() -> Rollout:
    """Two prompts, two completions each, of 4, 3, 2 and 0 tokens."""
    samples = [
        Sample(uid=f"pmid{i}", prompt="p", target="yes", question=f"Does it help, {i}?")
        for i in range(2)
    ]
    mask = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    return Rollout(
        prompt_ids=torch.ones(4, 3, dtype=torch.long),
        prompt_mask=torch.ones(4, 3, dtype=torch.bool),
        completion_ids=torch.ones(4, 4, dtype=torch.long),
        completion_mask=mask,
        logprobs=torch.full((4, 4), LOGPROBS),
        completions=list(COMPLETIONS),
        truncated=torch.tensor([True, False, False, False]),
        samples=samples,
        group_size=GROUP_SIZE,
    )


class StepModule(pl.LightningModule):
    """One parameter under manual optimisation; step k has `ref_logprobs[k]` and `rewards[k]`."""

    updates_per_step, updating, scorer = 1, False, None
    memories: ClassVar[dict[str, Any]] = {}

    def __init__(self, rewards: Sequence[Any], ref_logprobs: Sequence[float | None]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.rewards = list(rewards)
        self.ref_logprobs = list(ref_logprobs)
        self.autocast: list[bool] = []
        self.iteration = 0
        self.warnings: list[dict[str, Any]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        batches = [PromptBatch(samples=[]) for _ in range(100)]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        optimizer: Any = self.optimizers()
        self.manual_backward(self.weight * 1.0)
        optimizer.step()
        step = self.iteration
        self.iteration += 1
        rollout = rollout_of_four()
        verdict = torch.tensor(self.rewards[step % len(self.rewards)])
        scores = Scores(
            total=2 * verdict,
            parts={"verdict": verdict, "length": torch.tensor([0.0, 1.0, torch.nan, 0.5])},
            weights={"verdict": 2.0, "length": 0.0},
        )
        ref = self.ref_logprobs[step % len(self.ref_logprobs)]
        experience = Experience(
            rollout=rollout,
            advantages=torch.tensor([1.0, -1.0, 0.0, 0.0]),
            ref_logprobs=None if ref is None else torch.full((4, 4), ref),
        )
        zero = torch.zeros(())
        terms = LossTerms(
            total=zero,
            policy=zero,
            kl=torch.tensor(0.25),
            clip_fraction=zero,
            ratio_mean=zero,
            entropy=zero,
        )
        self.log("step", float(self.iteration))
        self.log("train/kl", 0.25)
        return {
            "rollout": rollout,
            "scores": scores,
            "experience": experience,
            "loss_terms": terms,
        }


@pytest.fixture
def run_steps(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Train some steps with callbacks and loggers; gives the trainer back."""

    def run(
        callbacks: Sequence[pl.Callback],
        *,
        steps: int = 3,
        rewards: Sequence[Any] = ([1.0, 0.0, 1.0, 1.0],),
        ref_logprobs: Sequence[float | None] = (REF_LOGPROBS,),
        loggers: Sequence[Logger] = (),
        module: StepModule | None = None,
        **options: Any,
    ) -> pl.Trainer:
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            callbacks=list(callbacks),
            logger=list(loggers) or False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            log_every_n_steps=1,
            default_root_dir=tmp_path,
            **options,
        )
        trainer.fit(module or StepModule(rewards, ref_logprobs))
        return trainer

    return run


@pytest.fixture
def step_module() -> type[StepModule]:
    return StepModule


@pytest.fixture
def four_rows() -> Rollout:
    return rollout_of_four()
