"""One GRPO and SFT run on two ranks, started by test_ddp.py; what each rank saw goes to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins import DoublePrecision

from rl4bio.data.base import Corpus, Split
from rl4bio.data.module import PromptDataModule
from rl4bio.modules.batching import micro_batches
from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.runs.ranks import trainer_options
from rl4bio.sections import (
    AdapterConfig,
    GRPOConfig,
    OptimConfig,
    PolicyConfig,
    RolloutConfig,
    SFTConfig,
    TrainerConfig,
)
from rl4bio.types import PromptBatch, Sample, ScoreTable
from tests.modules.test_micro_batch_auto import small_memory

LOSSES = ("dapo", "grpo", "dr_grpo")
TOKENS = 60
"""Small micro-batches: the ranks need different numbers of them."""
TEXTS = ["yes", "no", "maybe", "a b", "Does the drug lower it?", "the trial", "no, or maybe", "c"]


class Texts(Corpus):
    """Eight prompts to train on, and one to validate on, which leaves a second rank without any."""

    def samples(self, split: Split) -> Sequence[Sample]:
        texts = TEXTS if split == "train" else TEXTS[:1]
        return [
            Sample(uid=f"{split}{n}", prompt=text, demonstration=f"{text} {text}"[: 3 + 4 * n])
            for n, text in enumerate(texts)
        ]


def score(completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
    """Two rewards of many values; train0 gives the same to all of its completions."""
    letter = [
        0.5 if sample.uid == "train0" else text.count("e") / max(1, len(text)) + len(text) / 30
        for text, sample in zip(completions, samples, strict=True)
    ]
    short = [1 / (1 + len(text)) for text in completions]
    total = [a + 0.5 * b for a, b in zip(letter, short, strict=True)]
    total = [0.5 if s.uid == "train0" else t for t, s in zip(total, samples, strict=True)]
    return ScoreTable(
        total=total, parts={"letter": letter, "short": short}, weights={"letter": 1, "short": 0.5}
    )


def load(folder: str, *, lora: bool = False) -> Policy:
    torch.manual_seed(0)  # of the adapter's first weights
    adapter = AdapterConfig(rank=2) if lora else None
    policy = load_policy(PolicyConfig(checkpoint=folder, adapter=adapter))
    policy.model.double()  # what differs between ranks and one process then is no rounding
    return policy


def make_grpo(policy: Policy, **options: Any) -> GRPOLightningModule:
    cls = options.pop("cls", GRPOLightningModule)
    return cls(
        policy,
        score,
        rollout=RolloutConfig(max_completion_tokens=12, temperature=1.0),
        grpo=GRPOConfig(
            **{"group_size": 4, "kl_coef": 0.1, "tokens_per_micro_batch": TOKENS, **options}
        ),
        optim=OptimConfig(lr=0.01),
        max_steps=10,
        seed=2,
    )


class Gradients(GRPOLightningModule):
    """Keeps the gradients of each loss on one rollout, as the optimiser would get them."""

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        self.gradients: list[dict[str, torch.Tensor]] = []
        with torch.no_grad():  # away from the reference, so that the KL term pulls
            generator = torch.Generator().manual_seed(0)
            for parameter in self.policy.trainable_parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        rollout = self.generate(batch)
        scores = self.score(rollout)
        self.seen = {
            "uids": [sample.uid for sample in batch.samples],
            "completions": rollout.completions,
            "micro_batches": len(micro_batches(rollout, TOKENS, packed=False)),
        }
        for loss in LOSSES:
            self.grpo.loss = loss
            self.update(self.make_experience(rollout, scores))
        for scale, combine in (("batch", "sum_then_normalize"), ("group", "normalize_then_sum")):
            self.grpo.advantage_scale, self.grpo.combine = scale, combine  # type: ignore
            self.seen[combine] = self.advantages(scores)
        return {}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        named = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
        self.gradients.append({name: p.grad.clone() for name, p in named})  # type: ignore
        for _, parameter in named:
            parameter.grad = None


class History(L.Callback):
    """The metrics after every training step, and at last those of validation."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def add(self, trainer: L.Trainer, *_: Any) -> None:
        self.rows.append({name: float(v) for name, v in trainer.callback_metrics.items()})

    on_train_batch_end = on_validation_end = add


def train(
    module: L.LightningModule,
    devices: int,
    root: Path,
    *,
    steps: int,
    shared: bool = False,
    **options: Any,
) -> list[dict[str, float]]:
    """Train on four prompts a step over all ranks; gives the logged metrics.

    Args:
        module: to train.
        devices: ranks.
        root: folder for what Lightning writes.
        steps: of training.
        shared: whether each rank has a share of the weights alone.
        options: of the Trainer.
    """
    history = History()
    how: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": devices,
        "strategy": "ddp" if devices > 1 else "auto",
        "precision": "64-true",
    }
    if shared and devices > 1:
        section = TrainerConfig(accelerator="cpu", devices=str(devices), strategy="fsdp")
        how = {**trainer_options(section), "plugins": [DoublePrecision()]}
    data = PromptDataModule(Texts(batch_size=4 // devices), seed=5)
    trainer = L.Trainer(
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=False,
        check_val_every_n_epoch=None,
        default_root_dir=root,
        callbacks=[history],
        **{"limit_val_batches": 0, **how, **options},
    )
    trainer.fit(module, datamodule=data)
    return history.rows


def run(folder: str, devices: int, root: Path) -> dict[str, Any]:
    """What one rank sees: gradients, then weights after steps of LoRA GRPO and of SFT."""
    recorder = make_grpo(load(folder), cls=Gradients, self_check=False)
    train(recorder, devices, root, steps=len(LOSSES))
    auto: Any = {"tokens_per_micro_batch": "auto"}
    tuned = make_grpo(load(folder, lora=True), refill_rounds=2, updates_per_rollout=2, **auto)
    validate = {"limit_val_batches": 1.0, "val_check_interval": 1}
    if os.environ.get("LOCAL_RANK") == "1":
        small_memory(tuned, TOKENS)
    grpo_metrics = train(tuned, devices, root, steps=4, **validate)
    imitated = SFTLightningModule(
        load(folder),
        sft=SFTConfig(**auto),
        optim=OptimConfig(lr=0.01),
        max_steps=10,
    )
    if os.environ.get("LOCAL_RANK") == "1":  # the memory of the second rank alone runs out
        small_memory(imitated, 18)
    sft_metrics = train(imitated, devices, root, steps=2, **validate)
    return {
        "seen": recorder.seen,
        "gradients": recorder.gradients,
        "grpo": tuned.trainable_state(),
        "grpo_metrics": grpo_metrics,
        "sft": imitated.trainable_state(),
        "sft_metrics": sft_metrics,
        "halvings": [tuned.halvings, imitated.halvings],
    }


if __name__ == "__main__":
    model_folder, output = sys.argv[1], Path(sys.argv[2])
    result = run(model_folder, 2, output)
    rank = torch.distributed.get_rank()
    torch.save(result, output / f"rank{rank}.pt")
