"""Which library multiplies float32 matrices on a CPU.

torch takes MKL, which on processors of other makers than its own runs at half the speed of oneDNN's
kernels or less. torch reaches those through a switch that also allows bfloat16 inside a product;
without bfloat16 tiles in the processor they do not make use of it, and round as MKL does. So the
switch is thrown where two things have been seen: products that bfloat16 would round come out exact,
and they take less time.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

LEAST_GAIN = 1.25
"""Times faster that oneDNN must be: below it is noise of the measurement, or not worth a change."""
ROWS, INNER, OUTER = 384, 640, 1536
"""Of the product that is timed: some 8 ms at 100 GFLOP/s, a layer of a small model."""
REPEATS = 4


def settle_products() -> str:
    """Choose the library for this process's float32 products, once; says which, and why.

    What the user has set for torch stays.
    """
    choice, reason = faster_products()
    if choice == "oneDNN":
        _switch().fp32_precision = "bf16"
    return f"{choice} ({reason})"


@functools.cache
def faster_products() -> tuple[str, str]:
    """The library, MKL or oneDNN, and the reason."""
    if not torch.backends.mkldnn.is_available():
        return "MKL", "this build of torch has no oneDNN"
    if _switch().fp32_precision not in ("none", "ieee"):
        return "MKL", "torch.backends.mkldnn.matmul.fp32_precision is set already"
    if has_bfloat16_tiles():
        return "MKL", "oneDNN would round to bfloat16 on this CPU"
    if not exact_products():
        return "MKL", "oneDNN rounds to bfloat16 on this CPU"
    gain = measured_gain()
    if gain < LEAST_GAIN:
        return "MKL", f"oneDNN takes {1 / gain:.2f} of its time"
    return "oneDNN", f"{gain:.1f} times faster here, with the same rounding"


def _switch() -> Any:
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def has_bfloat16_tiles() -> bool:
    """Whether the CPU has AMX, whose tiles take bfloat16."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask()) if ask is not None else False


def exact_products() -> bool:
    """Whether oneDNN's products, single and batched, keep what bfloat16 would round away.

    Each is a sum of k times 1 + 2^-12, which float32 holds exactly and bfloat16 takes for k.
    """
    shapes = [(ROWS, INNER, OUTER), (8, 64, 64)]
    with through_onednn(), torch.no_grad():
        for rows, inner, outer in shapes:
            left = torch.full((rows, inner), 1 + 2.0**-12)
            right = torch.ones(outer, inner)
            found = [torch.nn.functional.linear(left, right), left @ right.T]
            found.append(torch.bmm(left.expand(2, -1, -1), right.T.expand(2, -1, -1)))
            wanted = inner * (1 + 2.0**-12)
            if any(not bool((one == wanted).all()) for one in found):
                return False
    return True


def measured_gain() -> float:
    """How many times faster oneDNN is, by the shortest of a few products each."""
    left, right = torch.ones(ROWS, INNER), torch.ones(OUTER, INNER)

    def product() -> Tensor:
        return torch.nn.functional.linear(left, right)

    with torch.no_grad():
        own = shortest(product)
        with through_onednn():
            other = shortest(product)
    return own / other


def shortest(function: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of a few calls, after one that is not counted."""
    function()
    laps = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        function()
        laps.append(time.perf_counter() - begin)
    return min(laps)


@contextmanager
def through_onednn() -> Iterator[None]:
    """Inside, float32 products go through oneDNN, which may use bfloat16 for them."""
    before = _switch().fp32_precision
    _switch().fp32_precision = "bf16"
    try:
        yield
    finally:
        _switch().fp32_precision = before
