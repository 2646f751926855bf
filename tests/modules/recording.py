"""A GRPO module whose gradients are looked at, and an experience to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rl4bio.modules.grpo import GRPOLightningModule
from rl4bio.types import Experience, PromptBatch, Sample


class Recorder(GRPOLightningModule):
    """Keeps the gradients of every optimiser step and lets none of them move the weights."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        named = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
        self.gradients.append({name: p.grad.clone() for name, p in named})  # type: ignore
        for _, parameter in named:
            parameter.grad = None


def batch_of(samples: Sequence[Sample]) -> PromptBatch:
    return PromptBatch(samples=list(samples), indices=list(range(len(samples))))


def experience_of(module: GRPOLightningModule, samples: Sequence[Sample]) -> Experience:
    rollout = module.generate(batch_of(samples))
    return module.make_experience(rollout, module.score(rollout))
