"""The layers of a model that one matrix product can stand in for, plain or under plain LoRA."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from rl4bio.engine.short_lora import plain_adapters, short_class


def linear_layers(model: nn.Module) -> Iterator[tuple[nn.Module, bool]]:
    """Each layer that one product can stand in for, and whether its packed form may be kept."""
    peft: Any = sys.modules.get("peft")  # takes seconds to import; no adapter is there without it
    pending: list[tuple[Any, bool]] = [(model, True)]
    seen: set[int] = set()
    while pending:
        module, keep = pending.pop()
        if id(module) in seen or "forward" in vars(module):
            continue
        seen.add(id(module))
        if _is_linear(module):
            yield module, keep
        elif peft is not None and isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
            if type(module) in (peft.tuners.lora.Linear, short_class()) and _is_foldable(module):
                yield module, False
            elif module.disable_adapters and not module.merged:
                # Not kept: a disabled adapter is an exception, a second base model in memory is not
                # worth it.
                pending.append((module.base_layer, False))
        else:
            pending += [(child, keep) for child in module.children()]


def _is_linear(module: nn.Module) -> bool:
    """A plain layer with a plain weight: subclasses of either compute in ways of their own."""
    return (
        type(module) in (nn.Linear, Conv1D)
        and type(module.weight) is nn.Parameter
        and module.weight.device.type != "meta"
    )


def _is_foldable(layer: Any) -> bool:
    """Whether a LoRA layer is a plain one over a plain base."""
    return _is_linear(layer.base_layer) and plain_adapters(layer) is not None


def active_adapters(layer: Any) -> list[tuple[Tensor, Tensor, float]]:
    """The active adapters of a layer: A [r, in], B [out, r], scaling."""
    lora_a = getattr(layer, "lora_A", {})
    names = [name for name in getattr(layer, "active_adapters", []) if name in lora_a]
    return [(lora_a[n].weight, layer.lora_B[n].weight, layer.scaling[n]) for n in names]
