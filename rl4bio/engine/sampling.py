"""The next token of every row, cheaply: inverse-CDF sampling in two levels."""

from __future__ import annotations

import torch
from torch import Tensor

from rl4bio.functional.logprobs import keep_top_k

BLOCK = 512
"""Tokens whose probabilities are added up before any cumulative sum is taken."""


def sample_tokens(
    logits: Tensor, noise: Tensor | None, *, temperature: float, top_k: int | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities under softmax(logits / temperature).

    The smallest v with cdf(v) > u, found by the cumulative sum of block sums and then of the one
    block: no pass over a 262k vocabulary but the exponentials themselves.

    Args:
        logits: float [N, V].
        noise: float64 [N] in [0, 1), one uniform number a row; None takes the likeliest token.
        temperature: above 0.
        top_k: sample among the k likeliest.

    Returns:
        int [N] and float32 [N]; the log-probability is not finite where the logits are not.
    """
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    scaled = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
    top, best = scaled.max(dim=-1, keepdim=True)
    weights = scaled.sub_(top).div_(temperature).exp_()
    width = weights.shape[-1]
    if width % BLOCK and width > BLOCK:
        weights = torch.nn.functional.pad(weights, (0, -width % BLOCK))
    blocks = weights.view(len(weights), -1, min(BLOCK, weights.shape[-1]))
    sums = blocks.sum(-1).double()  # [N, V / BLOCK]
    totals = sums.sum(-1, keepdim=True)
    if noise is None:
        token = best
    else:
        token = _invert(blocks, sums, noise.to(sums.device)[:, None] * totals).clamp_(max=width - 1)
    chosen = blocks.flatten(1).gather(-1, token).double()
    return token.squeeze(-1), (chosen / totals).log().squeeze(-1).float()


def _invert(blocks: Tensor, sums: Tensor, target: Tensor) -> Tensor:
    """The first token whose cumulative weight passes the target, int [N, 1]."""
    edges = sums.cumsum(-1)
    block = torch.searchsorted(edges, target, right=True).clamp_(max=sums.shape[-1] - 1)
    before = edges.gather(-1, block) - sums.gather(-1, block)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block.squeeze(-1)]
    inside = inside.double().cumsum(-1)
    place = torch.searchsorted(inside, target - before, right=True)
    place = place.clamp_(max=inside.shape[-1] - 1)
    return block * blocks.shape[-1] + place
