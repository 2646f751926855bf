"""The weights a rollout multiplies with: adapters folded in, packed for the CPU's kernels.

A rollout multiplies by the same matrices hundreds of times between two updates, so a private copy
in a better form pays for itself:

- folded: W' = W + scaling * B A, summed in float32 and cast once, saves the adapter's two skinny
  products in every call. peft's merge and unmerge would leave rounding behind in W itself.
- packed: oneDNN's blocked layout, without which `F.linear` reads a large matrix at half the speed
  where the rows are few. The two ops are Inductor's own, so they are tried before they are used.
- cast: a weight of another dtype than the one computed in, which `F.linear` casts in every call.
- merged: queries, keys and values in one product, and so gate and up.

The model's own tensors are read, never written.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary
from transformers.pytorch_utils import Conv1D

from rl4bio.engine.cpu.layers import active_adapters, linear_layers
from rl4bio.engine.cpu.siblings import SIBLINGS, Merged
from rl4bio.functional.shapes import at_least_float32

MIN_PACKED_FLOAT32 = 2**17
"""Fewest elements of a matrix that is packed in float32, where the packed op starts 11 us later
than `F.linear`: 256x256 runs at 0.8 of its speed with 8 rows, 1.04 with 128; 384x1536 at 1.6 and
1.7. Half of it with `MANY_ROWS`. In bfloat16 `F.linear` goes through oneDNN as well, and packing
gains at every size."""
MANY_ROWS = 64

# Packed copies of frozen matrices by parameter, so that a run packs its frozen head once.
_FROZEN = WeakTensorKeyDictionary()


@contextlib.contextmanager
def rollout_weights(
    model: nn.Module, *, dtype: torch.dtype | None = None, rows: int
) -> Iterator[str]:
    """Inside, every layer that gains from it computes with a private copy of its weights.

    Linear layers (and GPT-2's Conv1D), plain or under plain LoRA, get an instance attribute
    `forward`, which is removed at the end. The copy is made in a layer's first call; which adapters
    it holds is settled on entry, so switch them outside. Left alone are quantised layers, variants
    of LoRA such as DoRA, LoRA with a bias, active dropout or merged already, other tuners, layers
    whose `forward` is replaced already, and those with nothing to fold, pack or cast.

    Args:
        model: on any device; weights are packed on the CPU alone.
        dtype: what to compute in; None is autocast's dtype where autocast is on at entry, else each
            weight's own.
        rows: how many rows most calls have; others work as well.

    Yields:
        What was done, for the log: "packed float32, 56 layers".

    Raises:
        RuntimeError: gradients are on, on entry or in a call; the private copies carry none.
    """
    _refuse_gradients()
    replaced: list[nn.Module] = []
    small: dict[int, _Forward] = {}
    kinds: Counter[str] = Counter()
    try:
        for layer, keep in linear_layers(model):
            forward = _Forward(layer, dtype=dtype, rows=rows, keep=keep)
            if forward.kind is None:
                small[id(layer)] = forward
                continue
            layer.forward = forward
            replaced.append(layer)
            kinds[f"{forward.kind} {str(forward.dtype).removeprefix('torch.')}"] += 1
        for layer, forward in _merge_siblings(model, small):
            layer.forward = forward
            replaced.append(layer)
            kinds[f"merged {str(forward.dtype).removeprefix('torch.')}"] += 1
        replaced += _fuse_gelus(model)
        yield "; ".join(f"{kind}, {n} layers" for kind, n in kinds.items()) or "no private copies"
    finally:
        for layer in replaced:
            del layer.forward


def private_bytes(
    model: nn.Module, *, dtype: torch.dtype | None = None, rows: int
) -> tuple[int, int]:
    """How large the copies of `rollout_weights` are, none of which is made.

    Returns:
        Bytes that live on with their frozen weights, and bytes that go with the rollout.
    """
    kept = passing = 0
    with torch.no_grad(), rollout_weights(model, dtype=dtype, rows=rows):
        for module in model.modules():
            forward = vars(module).get("forward")
            if isinstance(forward, _Forward):
                size = forward.source.weight.numel() * forward.dtype.itemsize
                stays = forward.keep and forward.kind == "packed"
                kept, passing = (kept + size, passing) if stays else (kept, passing + size)
    return kept, passing


class _Forward:
    """x @ W'^T + b with a private W': what stands in for a layer's `forward`.

    Like `F.linear` it returns the compute dtype under autocast; otherwise it returns x's dtype.
    """

    def __init__(self, layer: Any, *, dtype: torch.dtype | None, rows: int, keep: bool) -> None:
        self.source = getattr(layer, "base_layer", layer)
        self.adapters = active_adapters(layer)
        weight = self.source.weight
        self.device_type: str = weight.device.type
        self.autocast = torch.is_autocast_enabled(self.device_type)
        if dtype is None:
            dtype = torch.get_autocast_dtype(self.device_type) if self.autocast else weight.dtype
        self.dtype: torch.dtype = dtype
        # A hint at which oneDNN chooses its layout: any number serves any other, but that of one
        # row takes up to twice as long with more, as a prompt has. In float32 the layout for many
        # rows is the faster one even with eight, by 8 %.
        self.rows = max(MANY_ROWS if dtype == torch.float32 else 8, 1 << (rows - 1).bit_length())
        self.keep = keep and not weight.requires_grad and not weight.is_inference()
        fewest = MIN_PACKED_FLOAT32 // (2 if rows >= MANY_ROWS else 1)
        large = dtype != torch.float32 or weight.numel() >= fewest
        self.kind: str | None = None
        if self.device_type == "cpu" and large and can_pack(dtype):
            self.kind = "packed"
        elif self.adapters:
            self.kind = "folded"
        elif dtype != weight.dtype:
            self.kind = "cast"
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.merged: Merged | None = None
        self.gelu: str | None = None
        """The form of the GELU that follows, computed in the same pass; packed layers alone."""

    def __call__(self, x: Tensor) -> Tensor:
        _refuse_gradients()
        if self.merged is not None:
            y = self.merged.output(self, x)
            return y if self.autocast else y.to(x.dtype)
        if self.weight is None:
            self.weight = self._make_weight()
            self.bias = None if self.source.bias is None else self.source.bias.to(self.dtype)
        inputs = x.to(self.dtype)
        if self.kind == "packed":
            name, form = ("none", "") if self.gelu is None else ("gelu", self.gelu)
            product = torch.ops.mkldnn._linear_pointwise
            y = product(inputs, self.weight, self.bias, name, [], form)
        else:
            y = F.linear(inputs, self.weight, self.bias)
        return y if self.autocast else y.to(x.dtype)

    def _make_weight(self) -> Tensor:
        """W', packed if it is to be; the packed form of a frozen matrix comes from the cache."""
        if self.kind != "packed":
            return self.folded()
        weight = self.source.weight
        key = (weight.data_ptr(), weight._version, self.dtype, self.rows) if self.keep else None
        kept: tuple[Any, Tensor] | None = _FROZEN.get(weight) if self.keep else None
        if kept is not None and kept[0] == key:
            return kept[1]
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.folded(), self.rows)
        if self.keep:
            _FROZEN[weight] = (key, packed)
        return packed

    def folded(self) -> Tensor:
        """W' = W + the active adapters' scaling * B A, [out, in], in the compute dtype."""
        weight: Tensor = self.source.weight.detach()
        if isinstance(self.source, Conv1D):
            weight = weight.T
        with torch.autocast(self.device_type, enabled=False):
            for a, b, scaling in self.adapters:
                full = at_least_float32(weight)
                weight = torch.addmm(full, b.to(full.dtype), a.to(full.dtype), alpha=scaling)
        return weight.to(self.dtype)


def _merge_siblings(
    model: nn.Module, small: dict[int, _Forward]
) -> list[tuple[nn.Module, _Forward]]:
    """Let siblings share a product, if one of them is packed or all together are large enough.

    Not frozen ones, whose packed forms outlive the rollout.

    Args:
        model: with its layers' `forward` replaced.
        small: what could stand in for the other layers, by the layer's id.

    Returns:
        Layers of `small` that are wanted after all.
    """
    wanted: list[tuple[nn.Module, _Forward]] = []
    for module in model.modules():
        for names in SIBLINGS:
            layers = [child for name, child in module.named_children() if name in names]
            found = [vars(layer).get("forward", small.get(id(layer))) for layer in layers]
            siblings = [f for f in found if isinstance(f, _Forward) and not f.keep]
            like = {(f.dtype, f.source.bias is None, f.source.weight.shape[1]) for f in siblings}
            if len(siblings) != len(names) or len(like) != 1:
                continue
            size = sum(f.source.weight.numel() for f in siblings)
            packed = any(f.kind == "packed" for f in siblings)
            first = siblings[0]
            large = size >= MIN_PACKED_FLOAT32 and first.device_type == "cpu"
            if packed or (large and can_pack(first.dtype)):
                merged = Merged(siblings)
                for layer, forward in zip(layers, siblings, strict=True):
                    forward.merged = merged
                    if "forward" not in vars(layer):
                        wanted.append((layer, forward))
    return wanted


def _fuse_gelus(model: nn.Module) -> list[nn.Module]:
    """Let packed layers compute the GELU behind them in an nn.Sequential; the GELUs replaced."""
    replaced: list[nn.Module] = []
    for sequence in model.modules():
        if type(sequence) is not nn.Sequential:
            continue
        for layer, after in itertools.pairwise(sequence):
            forward = vars(layer).get("forward")
            if not isinstance(forward, _Forward) or forward.kind != "packed" or forward.merged:
                continue
            if type(after) is nn.GELU and "forward" not in vars(after):
                forward.gelu = after.approximate
                after.forward = _same  # type: ignore[method-assign, assignment]
                replaced.append(after)
    return replaced


def _same(x: Tensor) -> Tensor:
    return x


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this CPU have the packed product, and it is right.

    Tried on small whole numbers, whose product is exact in every dtype.
    """
    x = (torch.arange(48) % 5 - 2).view(3, 16).to(dtype)
    weight = (torch.arange(128) % 7 - 3).view(8, 16).to(dtype)
    bias = torch.arange(8).to(dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
        y = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    expected = x.double() @ weight.double().T + bias.double()
    return y.dtype == dtype and torch.equal(y.double(), expected)


def _refuse_gradients() -> None:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "rollout_weights: gradients are on, and its copies carry none; "
            "run the rollout under torch.no_grad()"
        )
