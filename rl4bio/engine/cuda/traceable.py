"""Copies of decoder layers that a compiler can trace: plain modules around a rollout's weights.

What stands in for the forwards of a rollout (`weights`) has state of its own and is new in each
rollout, and peft's wrappers ask about their adapters in every call. A copy has the layer's own
modules, classes and attributes and shares its tensors; where a product with a private weight stands
in, it has a plain layer with that weight. Copies of like layers differ in tensors alone, so one
compiled code serves them all, in every rollout.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class CannotTrace(Exception):
    """The layer has parts whose code may differ from layer to layer or change between calls."""


class Product(nn.Module):
    """x @ W^T + b in W's dtype, returned in it under autocast, else in x's."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, autocast: bool) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.autocast = autocast

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] times the folded weight: [..., out]."""
        weight: Any = self.weight
        bias: Any = self.bias
        y = F.linear(x.to(weight.dtype), weight, bias)
        return y if self.autocast else y.to(x.dtype)


def traceable(module: Any) -> nn.Module:
    """A copy that computes what the module does within `rollout_weights`, up to rounding.

    Args:
        module: a layer whose private weights, if any, are in force.

    Raises:
        CannotTrace: it has hooks, forwards of others, weights of a kind of their own (quantised
            ones), or adapters that are not folded.
    """
    forward = vars(module).get("forward")
    if forward is not None and not forward.__module__.startswith("rl4bio.engine."):
        raise CannotTrace(f"the forward of a {type(module).__name__} is replaced")
    if module._forward_hooks or module._forward_pre_hooks:
        raise CannotTrace(f"a {type(module).__name__} has hooks")
    if hasattr(forward, "folded"):
        return _product(forward)
    if _is_tuner(module):
        if not (module.merged or module.disable_adapters):
            raise CannotTrace(f"the adapter of a {type(module).__name__} is not folded")
        return traceable(module.base_layer)
    for parameter in module.parameters(recurse=False):
        if type(parameter) is not nn.Parameter:
            raise CannotTrace(f"weights are {type(parameter).__name__}")
    twin: nn.Module = copy.copy(module)
    vars(twin).pop("forward", None)
    twin._modules = {
        name: child if child is None else traceable(child)
        for name, child in module._modules.items()
    }
    return twin


def _product(forward: Any) -> Product:
    """A layer with the weight of a stand-in; with an unpacked one where that is packed."""
    made = forward.kind != "packed" and forward.weight is not None
    weight = forward.weight if made else forward.folded()
    bias = forward.source.bias
    return Product(
        weight,
        None if bias is None else bias.detach().to(forward.dtype),
        autocast=forward.autocast,
    )


def _is_tuner(module: nn.Module) -> bool:
    peft: Any = sys.modules.get("peft")  # takes seconds to import; no adapter is there without it
    return peft is not None and isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer)
