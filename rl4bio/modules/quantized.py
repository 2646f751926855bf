"""Quantised base weights under a trained adapter."""

from __future__ import annotations

from torch import nn


def keep_gradients(model: nn.Module) -> None:
    """Keep bitsandbytes from packing 4-bit weights for inference on a CPU.

    Where the CPU has AVX512-BF16, bitsandbytes (0.50) packs a layer's weight at the first forward
    in eval mode, for good, and a product with a packed weight passes no gradient: after a rollout
    or a validation the adapters of all but the last layers would silently learn nothing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
