"""The next token of every row, cheaply: inverse-CDF sampling in two levels."""

from __future__ import annotations

import torch
from torch import Tensor

from rl4bio.functional.logprobs import keep_top_k

BLOCK = 512
"""Tokens whose probabilities are added up before any cumulative sum is taken."""


def finest(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def sample_tokens(
    logits: Tensor, noise: Tensor | None, *, temperature: float, top_k: int | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities under softmax(logits / temperature).

    The smallest v with cdf(v) > u, found by the cumulative sum of block sums and then of the one
    block: no pass over a 262k vocabulary but the exponentials themselves.

    Args:
        logits: float [N, V].
        noise: [N] in [0, 1), `finest`, one uniform number a row; None takes the likeliest token.
        temperature: above 0.
        top_k: sample among the k likeliest.

    Returns:
        int [N] and float32 [N]; the log-probability is not finite where the logits are not.
    """
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    # One buffer, since pages that are touched for the first time cost more than the arithmetic.
    scaled = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
    if temperature != 1.0:
        scaled.div_(temperature)
    if noise is None:
        top, token = scaled.max(dim=-1, keepdim=True)
    else:
        top = scaled.amax(dim=-1, keepdim=True)  # to find the place as well takes ten times as long
    # The softmax kernel is faster than an exponential alone, but rougher: good to choose with.
    chances = torch.softmax(scaled, -1, out=scaled)
    width = chances.shape[-1]
    if width % BLOCK and width > BLOCK:
        chances = torch.nn.functional.pad(chances, (0, -width % BLOCK))
    blocks = chances.view(len(chances), -1, min(BLOCK, width))
    sums = blocks.sum(-1).to(finest(logits.device))  # [N, V / BLOCK]
    totals = sums.sum(-1, keepdim=True)  # 1, but for rounding
    if noise is not None:
        target = noise.to(sums.dtype).to(sums.device)[:, None] * totals
        token = _invert(blocks, sums, target).clamp_(max=width - 1)
    ahead = logits.gather(-1, token).to(top.dtype).div_(temperature).sub_(top)
    highest = chances.amax(dim=-1, keepdim=True) / totals
    return token.squeeze(-1), ahead.add_(highest.log()).squeeze(-1).float()


def _invert(blocks: Tensor, sums: Tensor, target: Tensor) -> Tensor:
    """The first token whose cumulative weight passes the target, int [N, 1]."""
    if sums.shape[-1] == 1:
        return _first_above(blocks[:, 0].to(sums.dtype).cumsum(-1), target)
    edges = sums.cumsum(-1)
    block = _first_above(edges, target)
    before = edges.gather(-1, block) - sums.gather(-1, block)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block.squeeze(-1)]
    place = _first_above(inside.to(sums.dtype).cumsum(-1), target - before)
    return block * blocks.shape[-1] + place


def _first_above(edges: Tensor, target: Tensor) -> Tensor:
    """Where rising sums first pass the target, int [N, 1]; by rounding it may lie above them all.

    It is then the last place that adds anything: one of no weight is never the answer.
    """
    last = torch.searchsorted(edges, edges[:, -1:].contiguous())
    place = torch.minimum(torch.searchsorted(edges, target, right=True), last)
    return place.clamp_(max=edges.shape[-1] - 1)  # NaN is above everything
