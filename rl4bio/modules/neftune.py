"""NEFTune: noise on the embeddings of a sequence while it is learned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def embedding_noise(
    lengths: Sequence[int], width: int, *, seeds: Sequence[int], alpha: float, device: torch.device
) -> Tensor:
    """Uniform noise within alpha / sqrt(L * width) for each sequence of L tokens.

    Jain et al., 2023 (arXiv:2310.05914), equation of algorithm 1. A sequence's noise depends on its
    seed and length alone, not on what is beside it.

    Args:
        lengths: L of each sequence, in tokens.
        width: d, numbers of an embedding.
        seeds: one of each sequence.
        alpha: size of the noise: its expected length is alpha / sqrt(3) for any L and d.
        device: where it is drawn; the numbers depend on its kind.

    Returns:
        float32 [sum of L, d].
    """
    pieces = []
    for length, seed in zip(lengths, seeds, strict=True):
        generator = torch.Generator(device).manual_seed(seed)
        uniform = torch.rand(length, width, generator=generator, device=device)
        pieces.append((2 * uniform - 1) * (alpha / (length * width) ** 0.5))
    return torch.cat(pieces)


@contextlib.contextmanager
def noisy_embeddings(
    model: Any, fed: Tensor, *, seeds: Sequence[int], alpha: float, packed: bool
) -> Iterator[None]:
    """Inside, the first look-up of input embeddings gets noise, and no later one does.

    Later ones are those of a condition (a scaffold), which is not what is learned.

    Args:
        model: a causal language model, with or without an adapter.
        fed: bool [N, T], the tokens that the model reads.
        seeds: N.
        alpha: see `embedding_noise`.
        packed: the model reads the real tokens as one row [1, sum of L], else [N, T].
    """
    lengths = fed.sum(-1).tolist()

    def add(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
        handle.remove()
        noise = embedding_noise(
            lengths, embedded.shape[-1], seeds=seeds, alpha=alpha, device=embedded.device
        ).to(embedded.dtype)
        if packed:
            return embedded + noise
        return embedded + torch.zeros_like(embedded).masked_scatter(
            fed[..., None].to(noise.device), noise
        )

    handle = model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
