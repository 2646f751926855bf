"""The optimiser and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from rl4bio.sections import OptimConfig


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019) over the trainable parameters."""
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        parameters, lr=config.lr, betas=(beta1, beta2), weight_decay=config.weight_decay
    )


def learning_rate(config: OptimConfig, step: int, max_steps: int) -> float:
    """The learning rate of an optimiser step.

    A linear warm-up over `warmup_steps`, then constant, or linear or cosine decay that reaches
    `final_lr_fraction` of the peak at the last step.

    Args:
        config: the `optim` section.
        step: 0-based number of the optimiser step.
        max_steps: planned number of optimiser steps.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup_steps) / max(1, max_steps - 1 - config.warmup_steps)
    done = min(1.0, done)
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    floor = config.final_lr_fraction
    return config.lr * (floor + (1 - floor) * left)
