"""The optimiser and its learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from rl4bio.sections import OptimConfig

_INSIDE_A_LAYER = re.compile(r"\.\d+\.")


MuonScale = Literal["original", "match_rms_adamw"]


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    config: OptimConfig,
    *,
    muon_scale: MuonScale = "original",
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, 2019), or Muon with AdamW, over named trainable parameters.

    Every parameter group carries its peak learning rate as `peak_lr`. `muon_scale` is that of
    `MuonAdamW`.
    """
    beta1, beta2 = config.betas
    named = list(parameters)
    if config.name == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            [p for _, p in named],
            lr=config.lr,
            betas=(beta1, beta2),
            weight_decay=config.weight_decay,
        )
    else:
        chosen = [p.ndim == 2 and bool(_INSIDE_A_LAYER.search(name)) for name, p in named]
        optimizer = MuonAdamW(
            [p for (_, p), matrix in zip(named, chosen, strict=True) if matrix],
            [p for (_, p), matrix in zip(named, chosen, strict=True) if not matrix],
            config,
            scale=muon_scale,
        )
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) on the matrices of the layers, AdamW on everything else.

    Args:
        matrices: two-dimensional weights inside the layers.
        others: embeddings, heads, biases and norms.
        config: learning rates, betas (of AdamW) and weight decay (of the matrices).
        scale: of Muon's step: original is its authors' sqrt(max(1, rows / columns));
            match_rms_adamw gives it the size of AdamW's (Liu et al., 2025, arXiv:2502.16982).
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
        config: OptimConfig,
        *,
        scale: MuonScale = "original",
    ) -> None:
        beta1, beta2 = config.betas
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(
                torch.optim.Muon(
                    matrices,
                    lr=config.muon_lr,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn=scale,
                )
            )
        if others:
            self.parts.append(
                torch.optim.AdamW(others, lr=config.lr, betas=(beta1, beta2), weight_decay=0.0)
            )
        super().__init__([*matrices, *others], {"lr": config.lr})
        self._share_groups()

    def step(self, closure: Any = None) -> Any:
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def learning_rate_share(config: OptimConfig, step: int, max_steps: int) -> float:
    """The share of the peak learning rate at an optimiser step, in [0, 1].

    A linear warm-up over `warmup_steps`, then constant, or linear or cosine decay that reaches
    `final_lr_fraction` of the peak at the last step.

    Args:
        config: the `optim` section.
        step: 0-based number of the optimiser step.
        max_steps: planned number of optimiser steps.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup_steps) / max(1, max_steps - 1 - config.warmup_steps)
    done = min(1.0, done)
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    floor = config.final_lr_fraction
    return floor + (1 - floor) * left
