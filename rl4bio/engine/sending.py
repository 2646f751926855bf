"""Tensors to a device without waiting for it: the host goes on meanwhile."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Parts = TypeVar("Parts", bound=Any)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; itself where it is there."""
    return tensor.to(device, non_blocking=True)


def moved(parts: Parts, device: torch.device) -> Parts:
    """A dataclass whose tensors, also those in dicts, are on a device."""
    return replace(parts, **{f.name: _moved(getattr(parts, f.name), device) for f in fields(parts)})


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return send(value, device)
    if isinstance(value, dict):
        return {key: _moved(own, device) for key, own in value.items()}
    return value
