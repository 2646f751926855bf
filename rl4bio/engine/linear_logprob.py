"""Log-probabilities of tokens straight from hidden states, never with the logits of a whole step.

With h a hidden state, W a frozen head, z = W h / T and p = softmax(z), the gradient
d log p[x] / dh = (W[x] - sum_v p_v W_v) / T is one vector a token, known as soon as p is. So the
forward forms it and the backward multiplies each vector by a number: two matrix products, where a
kernel that makes the logits again in the backward needs three.

A head that is trained, adapted or quantised, and entropies with a gradient, take the plain way: a
chunk of rows at a time, its logits made again in the backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rl4bio.engine.known_tokens import KnownTokens
from rl4bio.engine.layout import extremes_of
from rl4bio.engine.vocabulary_tiles import Distribution, rows_at_once, tiled_statistics
from rl4bio.functional.logprobs import logprobs_and_entropy
from rl4bio.functional.shapes import at_least_float32, require_shape


def linear_logprobs(
    hidden: Tensor,
    head: nn.Module,
    ids: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    softcap: float | None = None,
    tokens: KnownTokens | None = None,
    entropy_gradient: bool = False,
    extremes: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies, in nats, of softmax(head(hidden) / temperature).

    The same numbers as functional.logprobs.logprobs_and_entropy of the head's logits. Products run
    in the precision of the head's own forward, under autocast too; the rest in float32 or better.

    Args:
        hidden: float [M, d], the states that predict the tokens.
        head: the model's output embedding, d to V: an nn.Linear or a layer around one.
        ids: int [M], each in [0, V).
        temperature: divides the logits, above 0.
        top_k: truncates the distribution as functional.logprobs does; None is the whole vocabulary.
        softcap: c of c * tanh(logits / c), which comes first; above 0, None is no cap.
        tokens: the head's rows that are tokens, over which the distribution is; None is all.
        entropy_gradient: whether the entropies are differentiable.
        extremes: the least and the greatest of ids; None reads them, which waits for a GPU.

    Returns:
        Log-probabilities [M] and entropies [M], float32, or float64 for float64 hidden;
        differentiable once.

    Raises:
        ShapeError: hidden is not [M, d], or ids not [M].
        RuntimeError: in a backward with create_graph.
        ValueError: temperature or softcap is not above 0, top_k is below 1, or an id is no token.
    """
    require_shape("linear_logprobs", "hidden", hidden, ("M", "d"))
    require_shape("linear_logprobs", "ids", ids, (hidden.shape[0],))
    for name, value in (("temperature", temperature), ("softcap", softcap)):
        if value is not None and not value > 0:
            raise ValueError(f"linear_logprobs: {name} is {value}, needs a number above 0")
    if top_k is not None and top_k < 1:
        raise ValueError(f"linear_logprobs: top_k is {top_k}, needs at least 1")
    vocabulary = _vocabulary(head, hidden) if tokens is None else tokens.count
    _require_tokens(extremes or extremes_of(ids), vocabulary)
    ids, how = ids.long(), Distribution(temperature, top_k, softcap, tokens)
    in_graph = torch.is_grad_enabled()
    trained = any(parameter.requires_grad for parameter in head.parameters())
    if not _is_plain_linear(head) or (in_graph and (trained or entropy_gradient)):
        found = _recomputed(hidden, head, ids, how, vocabulary, entropy_gradient)
    elif in_graph and hidden.requires_grad:
        frozen: Callable[..., tuple[Tensor, Tensor]] = _FrozenHead.apply
        found = frozen(hidden, head, ids, how)
    else:
        found = tiled_statistics(hidden, head, ids, how, with_rows=False)[:2]
    once: Callable[[Tensor], Tensor] = _Once.apply
    logprobs, entropy = map(once, found)
    return logprobs, entropy


def _vocabulary(head: nn.Module, hidden: Tensor) -> int:
    """V, which the shape of a quantised weight does not tell."""
    if _is_plain_linear(head):
        return len(head.weight)
    size = getattr(head, "out_features", None)
    if isinstance(size, int):
        return size
    with torch.no_grad():
        return int(head(hidden[:1]).shape[-1])


def _require_tokens(extremes: tuple[int, int] | None, vocabulary: int) -> None:
    if extremes is None:
        return
    lowest, highest = extremes
    if lowest < 0 or highest >= vocabulary:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"linear_logprobs: ids has {wrong}, needs each in [0, {vocabulary})")


def _is_plain_linear(head: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a call of the head is F.linear with its weight and bias, and nothing else."""
    hooks = (
        head._forward_hooks,
        head._forward_pre_hooks,
        head._backward_hooks,
        head._backward_pre_hooks,
    )
    return type(head) is nn.Linear and "forward" not in vars(head) and not any(hooks)


class _Once(torch.autograd.Function):
    """The identity; its gradient cannot be differentiated.

    torch's once_differentiable lets a second derivative pass, and leaves terms out of it, where the
    incoming gradient is a constant.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "linear_logprobs is differentiable once; call backward without create_graph"
            )
        return grad


class _FrozenHead(torch.autograd.Function):
    """The forward makes d logprobs / d hidden, the backward scales it."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: nn.Linear, ids: Tensor, how: Distribution
    ) -> tuple[Tensor, Tensor]:
        logprobs, entropy, rows = tiled_statistics(hidden, head, ids, how, with_rows=True)
        ctx.save_for_backward(rows)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx: Any, grad_logprobs: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        return rows * grad_logprobs[:, None], None, None, None


def _recomputed(
    hidden: Tensor,
    head: nn.Module,
    ids: Tensor,
    how: Distribution,
    vocabulary: int,
    entropy_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """Any head: a chunk of rows at a time, its logits made again in the backward."""

    def statistics(rows: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(rows)
        if how.tokens is not None:
            logits = how.tokens.restrict(logits)
        if how.softcap is not None:
            logits = how.softcap * torch.tanh(at_least_float32(logits) / how.softcap)
        logprobs, entropy = logprobs_and_entropy(
            logits[None], tokens[None], temperature=how.temperature, top_k=how.top_k
        )
        return logprobs[0], entropy[0] if entropy_gradient else entropy[0].detach()

    size = rows_at_once(vocabulary, hidden.device)
    if len(ids) <= size:
        return statistics(hidden, ids)
    chunks = zip(hidden.split(size), ids.split(size), strict=True)
    if torch.is_grad_enabled():
        found = [checkpoint(statistics, *chunk, use_reentrant=False) for chunk in chunks]
    else:
        found = [statistics(*chunk) for chunk in chunks]
    logprobs, entropy = (torch.cat(column) for column in zip(*found, strict=True))
    return logprobs, entropy
