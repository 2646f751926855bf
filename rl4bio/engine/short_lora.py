"""Plain LoRA layers as two products where PEFT makes two products, a sum, a scaling and casts.

PEFT computes `base(x) + lora_B(lora_A(x.to(float32))) * scaling`. Under autocast the cast is undone
at once, and the update keeps its result once for each layer; scaling and sum go over all outputs
again. Here x is taken as it comes, and the second product adds itself to the base's result, in its
kernel: `addmm(base(x), lora_A(x), B^T, alpha=scaling)`. It rounds once where PEFT rounds three
times.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn


def shorten_adapters(model: nn.Module) -> None:
    """Give every layer that is PEFT's `lora.Linear`, and no subclass of it, the shorter forward.

    PEFT's own remains for an adapter that is more than two matrices (DoRA, a bias, active dropout),
    merged, disabled, one of several at once, or of another type than its base without autocast.
    """
    from peft.tuners.lora.layer import Linear

    short: Any = short_class()
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = short


@functools.cache
def short_class() -> type[nn.Module]:
    """The class of a shortened layer, made when asked for: PEFT takes seconds to import."""
    from peft.tuners.lora.layer import Linear

    class ShortLinear(Linear):
        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            name = _only_adapter(self, x.device.type)
            if name is None or args or kwargs:
                whole: Tensor = super().forward(x, *args, **kwargs)
                return whole
            layer: Any = self
            result: Tensor = layer.base_layer(x)
            rows, low = result.flatten(0, -2), layer.lora_A[name](x).flatten(0, -2)
            up, scale = layer.lora_B[name].weight, layer.scaling[name]
            return torch.addmm(rows, low, up.t(), alpha=scale).view(result.shape)

    return ShortLinear


def _only_adapter(layer: Any, device: str) -> str | None:
    """The name of the one active adapter of a layer, where it is plain, and of the base's type as
    far as products see it."""
    names = plain_adapters(layer)
    if names is None or len(names) != 1:
        return None
    same = layer.base_layer.weight.dtype == layer.lora_A[names[0]].weight.dtype
    return names[0] if same or torch.is_autocast_enabled(device) else None


def plain_adapters(layer: Any) -> list[str] | None:
    """The active adapters of a LoRA layer that is its base plus products of two matrices; None
    where it is more or less than that."""
    if layer.disable_adapters or layer.merged:
        return None
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    dropouts = [layer.lora_dropout[name] for name in names]
    more = any(name in layer.lora_variant or layer.lora_bias[name] for name in names)
    noisy = any(isinstance(drop, nn.Dropout) and drop.training for drop in dropouts)
    return None if more or noisy else names
