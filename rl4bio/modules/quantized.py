"""Quantised base weights under a trained adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rl4bio.engine.known_tokens import inner_model
from rl4bio.errors import ModelError

if TYPE_CHECKING:
    from rl4bio.modules.policy import Policy


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


def keep_unpacked(model: nn.Module) -> None:
    """Keep bitsandbytes from packing 4-bit weights for inference on a CPU.

    Where the CPU has AVX512-BF16, bitsandbytes (0.50) packs a layer's weight at the first forward
    in eval mode, for good. A product with a packed weight passes no gradient: after a rollout or a
    validation the adapters of all but the last layers would silently learn nothing. It rounds to
    bfloat16 in any precision, and fails for rows that do not fill a block.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def is_quantized(model: Any) -> bool:
    """Whether weights are stored in fewer bits, asked for or as the checkpoint has them."""
    return bool(getattr(inner_model(model), "is_quantized", False))


def require_trainable(policy: Policy) -> None:
    """Refuse to train weights that no gradient reaches.

    Raises:
        ModelError: every weight is to be trained, and the checkpoint stores them quantised.
    """
    if policy.adapter is None and is_quantized(policy.model):
        raise ModelError(
            f"{policy.checkpoint}: its weights are stored quantised and cannot be trained; add "
            "policy.adapter, or take the checkpoint in 16 bits"
        )
