"""Quantised base weights under a trained adapter."""

from __future__ import annotations

import torch
from torch import nn


def freeze(model: nn.Module) -> None:
    """No weight learns; norms and biases in half precision go to float32.

    Embeddings and head keep their type. peft's prepare_model_for_kbit_training makes them float32
    as well: for a vocabulary of 256,000 that is gigabytes, read again in every step of a rollout,
    and a residual stream of twice the size.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dtype in (torch.bfloat16, torch.float16) and parameter.ndim == 1:
            parameter.data = parameter.data.float()


def keep_gradients(model: nn.Module) -> None:
    """Keep bitsandbytes from packing 4-bit weights for inference on a CPU.

    Where the CPU has AVX512-BF16, bitsandbytes (0.50) packs a layer's weight at the first forward
    in eval mode, for good, and a product with a packed weight passes no gradient: after a rollout
    or a validation the adapters of all but the last layers would silently learn nothing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
