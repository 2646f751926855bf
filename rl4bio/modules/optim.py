"""The optimiser and its learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from rl4bio.errors import MissingPackageError
from rl4bio.sections import OptimConfig

_INSIDE_A_LAYER = re.compile(r"\.\d+\.")

EIGHT_BIT = {
    "adamw8bit": ("AdamW8bit", "AdamW32bit"),
    "paged_adamw8bit": ("PagedAdamW8bit", "PagedAdamW32bit"),
    "lion8bit": ("Lion8bit", "Lion32bit"),
}
"""The classes of bitsandbytes for the layers' weights, and for all others."""

MuonScale = Literal["original", "match_rms_adamw"]


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    config: OptimConfig,
    *,
    muon_scale: MuonScale = "original",
) -> torch.optim.Optimizer:
    """The configured optimiser over named trainable parameters.

    AdamW is that of Loshchilov & Hutter, 2019. Every parameter group carries its peak learning rate
    as `peak_lr`. `muon_scale` is that of `muon_adamw`.

    Raises:
        MissingPackageError: an 8-bit one without bitsandbytes.
    """
    named = list(parameters)
    optimizer: torch.optim.Optimizer
    if config.name == "adamw":
        optimizer = _adamw([p for _, p in named], config, weight_decay=config.weight_decay)
    elif config.name == "muon":
        optimizer = muon_adamw(named, config, scale=muon_scale)
    else:
        optimizer = eight_bit(named, config)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def muon_adamw(
    named: Sequence[tuple[str, nn.Parameter]], config: OptimConfig, *, scale: MuonScale = "original"
) -> JoinedOptimizer:
    """Muon (Jordan et al., 2024) on the matrices of the layers, AdamW on everything else.

    Args:
        named: embeddings, heads, biases and norms are AdamW's.
        config: learning rates, betas (of AdamW) and weight decay (of the matrices).
        scale: of Muon's step: original is its authors' sqrt(max(1, rows / columns));
            match_rms_adamw gives it the size of AdamW's (Liu et al., 2025, arXiv:2502.16982).
    """
    chosen = [p.ndim == 2 and _inside_a_layer(name) for name, p in named]
    matrices = [p for (_, p), matrix in zip(named, chosen, strict=True) if matrix]
    others = [p for (_, p), matrix in zip(named, chosen, strict=True) if not matrix]
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        parts.append(
            torch.optim.Muon(
                matrices,
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                adjust_lr_fn=scale,
            )
        )
    if others:
        parts.append(_adamw(others, config, weight_decay=0.0))
    return JoinedOptimizer(parts)


def eight_bit(named: Sequence[tuple[str, nn.Parameter]], config: OptimConfig) -> JoinedOptimizer:
    """An optimiser of bitsandbytes: 8-bit states in the layers, 32-bit states outside them.

    The rows of an embedding get gradients of very different sizes, which blocks of 8 bits would
    round together (Dettmers et al., 2022, arXiv:2110.02861, section 2.3).

    Raises:
        MissingPackageError: bitsandbytes is not installed.
    """
    try:
        from bitsandbytes import optim
    except ImportError as error:
        raise MissingPackageError(
            f"optim.name: {config.name} needs bitsandbytes; pip install bitsandbytes, or take adamw"
        ) from error
    parts: list[torch.optim.Optimizer] = []
    for inside, name in zip((True, False), EIGHT_BIT[config.name], strict=True):
        chosen = [p for key, p in named if _inside_a_layer(key) is inside]
        if chosen:
            make = getattr(optim, name)
            betas = (config.betas[0], config.betas[1])
            options = {"lr": config.lr, "betas": betas, "weight_decay": config.weight_decay}
            parts.append(make(chosen, **options))
    return JoinedOptimizer(parts)


def _adamw(
    parameters: Sequence[nn.Parameter], config: OptimConfig, *, weight_decay: float
) -> torch.optim.Optimizer:
    beta1, beta2 = config.betas
    return torch.optim.AdamW(
        parameters, lr=config.lr, betas=(beta1, beta2), weight_decay=weight_decay
    )


def _inside_a_layer(name: str) -> bool:
    """Whether a parameter's name has the number of a layer: no embedding, head or last norm."""
    return bool(_INSIDE_A_LAYER.search(name))


class JoinedOptimizer(torch.optim.Optimizer):
    """Optimisers of different parameters as one; groups stand in the order of the parts.

    Args:
        parts: at least one; each keeps its own state.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        groups = [group for part in self.parts for group in part.param_groups]
        super().__init__([p for group in groups for p in group["params"]], {})
        self._share_groups()

    def step(self, closure: Any = None) -> Any:
        """A step of every part."""
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of each part."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give each part its state, and share the groups again."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def learning_rate_share(
    config: OptimConfig, step: int, max_steps: int, *, updates: int = 1
) -> float:
    """The share of the peak learning rate at an optimiser step, in [0, 1].

    A linear warm-up over `warmup_steps` training steps, then constant, or linear or cosine decay
    that reaches `final_lr_fraction` of the peak at the last step; with restarts at the last step
    of each cycle.

    Args:
        config: the `optim` section.
        step: 0-based number of the optimiser step.
        max_steps: planned number of training steps.
        updates: optimiser steps in each training step.
    """
    warmup = config.warmup_steps * updates
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    number, total = step - warmup, max_steps * updates - warmup
    if config.schedule == "cosine_with_restarts":
        number, total = _place_in_cycle(number, total, config.num_cycles)
    done = min(1.0, number / max(1, total - 1))
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    floor = config.final_lr_fraction
    return floor + (1 - floor) * left


def _place_in_cycle(number: int, total: int, cycles: int) -> tuple[int, int]:
    """Which step of its cycle a step is, and how many the cycle has; total steps in equal parts."""
    if number >= total:  # beyond the plan: the end of the last cycle
        return 1, 1
    cycle = number * cycles // total
    start, end = (-(-k * total // cycles) for k in (cycle, cycle + 1))  # rounded up
    return number - start, end - start
