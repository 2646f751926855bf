"""What a process holds of a model whose weights are shared out (trainer.strategy: fsdp)."""

from __future__ import annotations

import re
from collections import Counter

import torch
from torch import nn

from rl4bio.sections import RunConfig

GATHERED_LAYERS, GRADIENT_LAYERS = 3, 2
"""Layers that are whole at once: one that runs, the next, and what that arrives in; of gradients
one that is made, and what it is summed in."""
_LAYER = re.compile(r"^.*?\.\d+\.")


def num_ranks(config: RunConfig) -> int:
    """Processes that share the weights; 1 where each has all. `auto` counts this machine's GPUs."""
    section = config.trainer
    if section.strategy != "fsdp":
        return 1
    found = torch.cuda.device_count() if section.devices == "auto" else int(section.devices)
    return max(1, found) * section.num_nodes


def layer_bytes(model: nn.Module, *, half: bool) -> Counter[str]:
    """Bytes of each layer's weights as they are gathered; of what is outside of layers under ""."""
    found: Counter[str] = Counter()
    for name, weight in model.named_parameters():
        where = _layer_of(name)
        size = min(2, weight.element_size()) if half and where else weight.element_size()
        found[where] += weight.numel() * size
    return found


def gathered_bytes(model: nn.Module, *, half: bool) -> int:
    """Bytes beside the shares while the model runs: what is outside of the layers, some layers, and
    gradients of both before each process has its share of the sum.

    Args:
        model: on any device.
        half: whether layers are gathered in bfloat16.
    """
    weights, trained = layer_bytes(model, half=half), Counter[str]()
    for name, weight in model.named_parameters():
        trained[_layer_of(name)] += weight.numel() * 4 * weight.requires_grad
    outside, outside_trained = weights.pop("", 0), trained.pop("", 0)
    layers = GATHERED_LAYERS * max(weights.values(), default=0)
    gradients = GRADIENT_LAYERS * max(trained.values(), default=0)
    return outside + layers + outside_trained + gradients


def _layer_of(name: str) -> str:
    layer = _LAYER.match(name)
    return layer.group() if layer else ""
