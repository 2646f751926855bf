"""Layers that are fed the same tensor in one product: queries, keys and values; gate and up.

With few rows starting a product costs as much as a small one takes. Each number stays what it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

SIBLINGS = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("query", "key", "value"),
)
"""Names of such layers in their module: of most models, and of MolGPT."""


class Sibling(Protocol):
    """What one of the layers gives: its weight, and what it computes in."""

    source: Any
    dtype: torch.dtype
    rows: int

    def folded(self) -> Tensor:
        """[out, in], in `dtype`."""


class Merged:
    """The layers' outputs for one input, from a packed product made when the first layer asks.

    The others are given theirs if they come with the same tensor; else the product is made again.

    Args:
        siblings: of the same dtype and width of input; all have a bias, or none. They hold this
            object and not it them, so that both are gone with the rollout.
    """

    def __init__(self, siblings: Sequence[Sibling]) -> None:
        self._siblings = [weakref.ref(sibling) for sibling in siblings]
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.sizes: list[int] = []
        self.fed: tuple[Tensor, int] | None = None
        """The input that the waiting outputs belong to, and its version."""
        self.waiting: dict[int, Tensor] = {}

    @property
    def siblings(self) -> list[Sibling]:
        """Those that there were at the start, while all of them live."""
        found = [one() for one in self._siblings]
        return [one for one in found if one is not None]

    def output(self, sibling: Sibling, x: Tensor) -> Tensor:
        """What the layer returns for x [..., in]: a view [..., out], in the compute dtype."""
        version = 0 if x.is_inference() else x._version
        known = self.fed is not None and self.fed[0] is x and self.fed[1] == version
        if not known or id(sibling) not in self.waiting:
            self.fed = (x, version)
            self.waiting = dict(zip(map(id, self.siblings), self._products(x), strict=True))
        y = self.waiting.pop(id(sibling))
        if not self.waiting:
            self.fed = None
        return y

    def _products(self, x: Tensor) -> tuple[Tensor, ...]:
        siblings = self.siblings
        dtype, rows = siblings[0].dtype, siblings[0].rows
        if self.weight is None:
            folded = [sibling.folded() for sibling in siblings]
            self.sizes = [len(weight) for weight in folded]
            biases = [sibling.source.bias for sibling in siblings]
            self.bias = None if biases[0] is None else torch.cat(biases).to(dtype)
            self.weight = torch.ops.mkldnn._reorder_linear_weight(torch.cat(folded), rows)
        product = torch.ops.mkldnn._linear_pointwise
        y: Tensor = product(x.to(dtype), self.weight, self.bias, "none", [], "")
        return torch.split(y, self.sizes, dim=-1)
