"""What every kernel starts with: its shape checks and its working precision."""

from __future__ import annotations

import torch
from torch import Tensor

from rl4bio.errors import ShapeError


def require_shape(where: str, name: str, tensor: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise a ShapeError unless the tensor has this shape; a letter stands for any size."""
    ok = tensor.dim() == len(shape) and all(
        isinstance(want, str) or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if not ok:
        expected = ", ".join(str(size) for size in shape)
        raise ShapeError(f"{where}: {name} has shape {list(tensor.shape)}, expected [{expected}]")


def require_mask(where: str, mask: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise a ShapeError unless the mask has this shape and is boolean: ~ of an int mask is not."""
    require_shape(where, "mask", mask, shape)
    if mask.dtype != torch.bool:
        raise ShapeError(f"{where}: mask has dtype {mask.dtype}, expected torch.bool")


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, or in float64 where they came so."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
