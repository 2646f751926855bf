"""Log-probabilities and entropies of tokens from logits, exact and lean in memory.

The logits of a step are its largest tensor (rows x tokens x vocabulary; Gemma 3 has 262k words).
Autograd through log_softmax would keep float32 copies of all of it. Here the forward keeps the
logits as the model gave them, and the backward computes the softmax again, block by block.

With `top_k` the distribution is truncated: p(v) = exp(z_v) / sum_{u in K} exp(z_u) for v in K, else
0, where z are the tempered logits and K the tokens whose logit is at least the k-th largest (all of
a tie). Where a given token x is scored, K is that set and x: the policy that sampled x and the one
that scores it, later in training or the reference, need not have the same k likeliest tokens, and
without x in K its log-probability would be -inf and a ratio 0 or infinite. While both are the same
model, x is in its top k and the ratio is 1. K is held fixed by the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rl4bio.functional.shapes import require_shape

BLOCK_ELEMENTS = 2**22
"""Logits that are upcast at a time. 16 MiB a float32 temporary: above about 32 MiB the allocator of
a CPU maps fresh pages for each one, which costs more than the arithmetic."""


def keep_top_k(logits: Tensor, top_k: int, ids: Tensor | None = None) -> Tensor:
    """The logits with -inf for all but the k largest, ties at the k-th and the given tokens.

    Args:
        logits: float [..., V].
        top_k: k, at least 1; from V on nothing is left out.
        ids: int [...], a token of each distribution that stays in any case.

    Returns:
        float [..., V]; logits itself where k is V or more.

    Raises:
        ValueError: top_k is below 1.
    """
    if top_k < 1:
        raise ValueError(f"keep_top_k: top_k is {top_k}, needs at least 1")
    if top_k >= logits.shape[-1]:
        return logits
    smallest = logits.topk(top_k, dim=-1).values[..., -1:]
    kept = logits.masked_fill(logits < smallest, float("-inf"))
    if ids is None:
        return kept
    return kept.scatter_(-1, ids[..., None], logits.gather(-1, ids[..., None]))


def token_logprobs(
    logits: Tensor, ids: Tensor, *, temperature: float = 1.0, top_k: int | None = None
) -> Tensor:
    """Log-probability of each given token: log softmax(logits / temperature)[ids].

    Args:
        logits: float [N, C, V] of any precision; logits[:, t] predicts ids[:, t].
        ids: int [N, C], each in [0, V), padding included.
        temperature: of the distribution that the tokens were sampled from, above 0.
        top_k: truncates it as above; None is the whole vocabulary.

    Returns:
        [N, C], float32, or float64 for float64 logits; differentiable once.

    Raises:
        ShapeError: ids does not have the first two dimensions of logits.
        ValueError: temperature is not above 0.
    """
    return _statistics("token_logprobs", logits, ids, temperature, top_k, with_entropy=False)[0]


def logprobs_and_entropy(
    logits: Tensor, ids: Tensor, *, temperature: float = 1.0, top_k: int | None = None
) -> tuple[Tensor, Tensor]:
    """`token_logprobs`, and the entropies -sum_v p_v log p_v in nats, for the price of one softmax.

    Args:
        logits: float [N, C, V] of any precision.
        ids: int [N, C], each in [0, V), padding included.
        temperature: divides the logits, above 0.
        top_k: truncates the distribution as above; None is the whole vocabulary.

    Returns:
        Log-probabilities [N, C] and entropies [N, C], both differentiable once.

    Raises:
        ShapeError: ids does not have the first two dimensions of logits.
        ValueError: temperature is not above 0.
    """
    return _statistics("logprobs_and_entropy", logits, ids, temperature, top_k, with_entropy=True)


def _statistics(
    where: str,
    logits: Tensor,
    ids: Tensor,
    temperature: float,
    top_k: int | None,
    *,
    with_entropy: bool,
) -> tuple[Tensor, Tensor]:
    require_shape(where, "logits", logits, ("N", "C", "V"))
    require_shape(where, "ids", ids, (logits.shape[0], logits.shape[1]))
    if not temperature > 0:
        raise ValueError(f"{where}: temperature is {temperature}, needs a number above 0")
    if top_k is not None and top_k < 1:
        raise ValueError(f"{where}: top_k is {top_k}, needs at least 1")
    statistics: Callable[..., tuple[Tensor, Tensor]] = _TokenStatistics.apply
    return statistics(logits, ids.long(), temperature, top_k, with_entropy)


def _blocks(shape: torch.Size) -> Iterator[tuple[slice, slice]]:
    """Row and token slices that cover [N, C, V] with about BLOCK_ELEMENTS logits each.

    Slices and not a flat view: a shifted view of the logits (logits[:, :-1]) is not contiguous, and
    flattening it would copy everything.
    """
    num_rows, width, vocabulary = shape
    tokens = max(1, BLOCK_ELEMENTS // max(1, vocabulary))
    rows = max(1, tokens // max(1, width))
    for n in range(0, num_rows, rows):
        for t in range(0, width, tokens):
            yield slice(n, n + rows), slice(t, t + tokens)


def _tempered(logits: Tensor, temperature: float, ids: Tensor, top_k: int | None) -> Tensor:
    """A float32 (or float64) copy, (logits - their maximum) / temperature.

    Subtracting before dividing keeps the rounding relative to the difference, not to the logits.
    What `top_k` leaves out is -inf.
    """
    if top_k is not None:
        logits = keep_top_k(logits, top_k, ids)
    tempered = logits.to(torch.promote_types(logits.dtype, torch.float32), copy=True)
    return tempered.sub_(tempered.amax(dim=-1, keepdim=True)).div_(temperature)


def _finite(tempered: Tensor) -> Tensor:
    """In place, the lowest finite number for -inf: times a probability of 0 it is 0 and not NaN."""
    return tempered.clamp_(min=torch.finfo(tempered.dtype).min)


class _TokenStatistics(torch.autograd.Function):
    """log p[id] and entropy of softmax(logits / temperature), with the softmax recomputed backward.

    With z the tempered logits, Z = sum exp z, p = exp(z) / Z and H = log Z - sum p z:
    d log p[id] / dz_v = [v = id] - p_v and dH / dz_v = -p_v (log p_v + H).
    torch.log_softmax is not used: its sum over a large vocabulary is off by 1e-5 on CPU in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        ids: Tensor,
        temperature: float,
        top_k: int | None,
        with_entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        logprobs = torch.empty(ids.shape, dtype=dtype, device=logits.device)
        log_total = torch.empty_like(logprobs)  # log Z
        entropy = torch.zeros_like(logprobs)
        for block in _blocks(logits.shape):
            z = _tempered(logits[block], temperature, ids[block], top_k)
            chosen = z.gather(-1, ids[block][..., None]).squeeze(-1)
            weights = z.exp()
            total = weights.sum(dim=-1)
            log_total[block] = total.log()
            logprobs[block] = chosen - log_total[block]
            if with_entropy:
                entropy[block] = log_total[block] - weights.mul_(_finite(z)).sum(dim=-1) / total
        ctx.save_for_backward(logits, ids, log_total, entropy)
        ctx.temperature, ctx.top_k = temperature, top_k
        ctx.set_materialize_grads(False)  # an entropy that is only logged costs no backward
        if not with_entropy:
            ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprobs: Tensor | None, grad_entropy: Tensor | None
    ) -> tuple[Tensor | None, None, None, None, None]:
        logits, ids, log_total, entropy = ctx.saved_tensors
        grad_logits = torch.empty_like(logits)
        for block in _blocks(logits.shape):
            z = _tempered(logits[block], ctx.temperature, ids[block], ctx.top_k)
            log_p = z.sub_(log_total[block][..., None])
            if grad_entropy is None:
                p = log_p.exp_()
                factor = torch.zeros_like(entropy[block])[..., None]
            else:
                p = log_p.exp()
                factor = _finite(log_p).add_(entropy[block][..., None])
                factor.mul_(-grad_entropy[block][..., None])
            if grad_logprobs is None:
                grad = p.mul_(factor)
            else:
                g = grad_logprobs[block][..., None]
                grad = p.mul_(factor - g).scatter_add_(-1, ids[block][..., None], g)
            grad_logits[block] = grad.div_(ctx.temperature)
        return grad_logits, None, None, None, None
