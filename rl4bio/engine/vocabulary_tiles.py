"""Log-probabilities, entropies and gradient rows under a frozen linear head, tile by tile.

The vocabulary goes by in tiles that fit a processor's cache, under a running maximum (Milakov and
Gimelshein, 2018, arXiv:1805.02867): a tile's logits are made, exponentiated, summed and multiplied
by the head's weight W before the next tile overwrites them, and W is read from memory once.

With h a hidden state, z = W h / T, p = softmax(z) and x the given token, the gradient row is
d log p[x] / dh = (W[x] - sum_v p_v W_v) / T. With a soft cap c, z = c tanh(W h / c) / T, and each
W_v has the factor 1 - tanh^2(W_v h / c).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rl4bio.engine.known_tokens import KnownTokens
from rl4bio.functional import logprobs as functional
from rl4bio.functional.logprobs import keep_top_k

TILE_ROWS = {"cpu": 256, "accelerator": 4096}
"""Tokens of a tile at least, where there are so many: W is read once for all of them."""

TILE_ELEMENTS = {"cpu": 2**18, "accelerator": 2**26}
"""Logits of a tile. 1 MiB of float32 stays in a CPU's cache; an accelerator wants few and large
products, in about 640 MiB of work space."""

WHOLE_ROWS = 64
"""Tokens whose whole logits may exist at once, whatever the vocabulary: fewer would wait for W."""

WHOLE_ELEMENTS = 2**28
"""Logits that may exist at once on an accelerator; on a CPU a block of functional.logprobs."""


class Distribution(NamedTuple):
    """softmax(cap(logits) / temperature) over the tokens, truncated to top_k."""

    temperature: float
    top_k: int | None
    softcap: float | None
    tokens: KnownTokens | None = None
    """The head's rows that are tokens; None is all."""

    def words(self, head: nn.Linear) -> int:
        """V, the head's rows up to the last token."""
        return len(head.weight) if self.tokens is None else self.tokens.count


class Statistics(NamedTuple):
    """Of the tokens of M positions."""

    logprobs: Tensor  # [M]
    entropy: Tensor  # [M]
    rows: Tensor | None  # [M, d], d logprobs / d hidden


def tiled_statistics(
    hidden: Tensor, head: nn.Linear, ids: Tensor, how: Distribution, *, with_rows: bool
) -> Statistics:
    """One pass over the vocabulary, two matrix products, or one without the rows.

    Args:
        hidden: float [M, d].
        head: d to V.
        ids: int64 [M], each in [0, V).
        how: the distribution.
        with_rows: whether to make the gradient rows, in the precision of hidden.

    Returns:
        The statistics in float32, or float64 for float64 hidden; no graph.
    """
    dtype, device, vocabulary = _product_dtype(hidden), hidden.device, how.words(head)
    wide = torch.promote_types(dtype, torch.float32)
    logprobs, entropy = (torch.empty(ids.shape, dtype=wide, device=device) for _ in range(2))
    rows = torch.empty_like(hidden) if with_rows else None
    size, width = _tile_shape(len(ids), vocabulary, device, whole=how.top_k is not None)
    work = _WorkSpace(size * width, dtype, device)
    with torch.no_grad():
        for start in range(0, len(ids), size):
            part = slice(start, start + size)
            softmax = _RunningSoftmax(hidden[part].to(dtype), head, ids[part], how, width, work)
            for word in range(0, vocabulary, width):
                softmax.add(word, with_rows=with_rows)
            logprobs[part], entropy[part] = softmax.statistics()
            if rows is not None:
                rows[part] = softmax.gradient_rows()
    return Statistics(logprobs, entropy, rows)


def rows_at_once(vocabulary: int, device: torch.device) -> int:
    """Rows whose whole logits may exist at once."""
    elements = functional.BLOCK_ELEMENTS if device.type == "cpu" else WHOLE_ELEMENTS
    return max(WHOLE_ROWS, elements // vocabulary)


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """The precision of F.linear on these rows; autocast leaves float64 alone."""
    kind = hidden.device.type
    if hidden.dtype != torch.float64 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


def _tile_shape(
    num_rows: int, vocabulary: int, device: torch.device, *, whole: bool
) -> tuple[int, int]:
    """Rows and words of a tile; with `whole` all words, as the k-th largest of a row needs."""
    kind = "cpu" if device.type == "cpu" else "accelerator"
    limit = max(TILE_ROWS[kind], TILE_ELEMENTS[kind] // vocabulary)
    if whole:
        limit = rows_at_once(vocabulary, device)
    num_chunks = max(1, math.ceil(num_rows / limit))
    rows = max(1, math.ceil(num_rows / num_chunks))  # even: a short last chunk reads W for little
    return rows, vocabulary if whole else min(vocabulary, max(1, TILE_ELEMENTS[kind] // rows))


class _WorkSpace:
    """Memory of a tile, used again by the next: fresh pages cost more than the arithmetic."""

    def __init__(self, elements: int, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.wide = dtype, torch.promote_types(dtype, torch.float32)
        self.logits = torch.empty(elements, dtype=self.wide, device=device)
        self.weights = torch.empty_like(self.logits)
        self.product = self.logits
        if self.dtype != self.wide:
            self.product = torch.empty(elements, dtype=dtype, device=device)


class _RunningSoftmax:
    """What n rows have seen of the vocabulary so far.

    Logits count in bits below the row's maximum: 2**z is cheaper than e**z. The given token x stays
    out of the sums until the end, so that 1 - p[x], the factor of W[x] in the gradient, keeps its
    digits where p[x] is nearly 1.
    """

    def __init__(
        self,
        hidden: Tensor,  # [n, d], in the precision of the products
        head: nn.Linear,
        ids: Tensor,  # [n]
        how: Distribution,
        width: int,
        work: _WorkSpace,
    ) -> None:
        self.hidden, self.head, self.ids, self.how = hidden, head, ids, how
        self.width, self.work, self.wide = width, work, work.wide
        self.words = how.words(head)
        self.lowest = torch.finfo(self.wide).min
        self.bits = math.log2(math.e) / how.temperature  # in one unit of a logit
        self.top = hidden.new_full((len(ids), 1), self.lowest, dtype=self.wide)
        self.own = torch.zeros_like(self.top)  # the logit of x
        self.own_slope = torch.ones_like(self.top)  # and the cap's derivative there
        self.row_sum = torch.zeros_like(hidden, dtype=self.wide)  # sum of 2**z slope W, without x
        self.tiles: list[tuple[Tensor, Tensor, Tensor]] = []  # top, sum 2**z and sum 2**z z, [n]

    def add(self, start: int, *, with_rows: bool) -> None:
        """Take in the tile of the vocabulary that begins at `start`."""
        stop = min(start + self.width, self.words)
        weight = self.head.weight[start:stop].to(self.work.dtype)  # [k, d]
        logits, slope = self._logits(weight, start, with_slope=with_rows)  # [n, k]
        here = (self.ids // self.width == start // self.width)[:, None]
        column = (self.ids % self.width).clamp(max=len(weight) - 1)[:, None]
        self.own = torch.where(here, logits.gather(1, column), self.own)
        top = torch.maximum(self.top, logits.amax(1, keepdim=True))
        # -inf becomes finite: times 2**z = 0 it must be 0
        z = logits.sub_(top).mul_(self.bits).clamp_(min=self.lowest)
        e = torch.exp2(z, out=self.work.weights[: z.numel()].view(z.shape))
        e.scatter_(1, column, e.gather(1, column).masked_fill_(here, 0))
        self.tiles.append((top[:, 0], e.sum(1), z.mul_(e).sum(1)))
        if with_rows:
            if slope is not None:
                self.own_slope = torch.where(here, slope.gather(1, column), self.own_slope)
                e.mul_(slope)
            self.row_sum.mul_((self.top - top).mul_(self.bits).exp2_())
            self._add_product(e, weight)
        self.top = top

    def _logits(
        self, weight: Tensor, start: int, *, with_slope: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Capped and truncated logits [n, k], and the cap's derivative if wanted."""
        shape = (len(self.ids), len(weight))
        size = shape[0] * shape[1]
        product = self.work.product[:size].view(shape)
        logits = self.work.logits[:size].view(shape)
        if self.head.bias is None:
            torch.mm(self.hidden, weight.t(), out=product)
        else:
            bias = self.head.bias[start : start + len(weight)].to(self.work.dtype)
            torch.addmm(bias, self.hidden, weight.t(), out=product)
        if product.dtype != logits.dtype:
            logits.copy_(product)
        slope, cap = None, self.how.softcap
        if cap is not None:
            logits.div_(cap).tanh_()
            if with_slope:
                slope = 1 - logits * logits
            logits.mul_(cap)
        if self.how.tokens is not None and self.how.tokens.holes:
            holes = self.how.tokens.holes_in(start, start + len(weight), logits.device)
            logits.index_fill_(1, holes, float("-inf"))
        if self.how.top_k is not None:
            logits = keep_top_k(logits, self.how.top_k, self.ids)
        return logits, slope

    def _add_product(self, e: Tensor, weight: Tensor) -> None:
        """row_sum += e @ weight, summed in float32 or better."""
        if weight.dtype == self.wide:
            self.row_sum.addmm_(e, weight)
            return
        half = self.work.product[: e.numel()].view(e.shape).copy_(e)
        if half.is_cuda:  # keeps the product of each tile in float32
            torch.addmm(self.row_sum, half, weight, out_dtype=self.wide, out=self.row_sum)
        else:
            self.row_sum.add_(half @ weight)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies [n], after the last tile; they take x in."""
        tops, sums, dots = (torch.stack(column, 1) for column in zip(*self.tiles, strict=True))
        shift = (tops - self.top).mul_(self.bits).clamp_(min=-1e4)  # 2**-1e4 is 0, and times it 0
        rescale = shift.exp2()
        own_nats = (self.own - self.top).div_(self.how.temperature)[:, 0]
        own = own_nats.exp()
        self.others = (rescale * sums).sum(1)
        self.total = self.others + own
        dot = (rescale * (dots + shift * sums)).sum(1).mul_(math.log(2))
        dot += own * own_nats.clamp(min=self.lowest)
        log_total = self.total.log()
        return own_nats - log_total, log_total - dot / self.total

    def gradient_rows(self) -> Tensor:
        """d log p[x] / d hidden [n, d], after `statistics`."""
        rows = self.head.weight[self.ids].to(self.work.dtype).to(self.wide)
        rows.mul_(self.own_slope * self.others[:, None]).sub_(self.row_sum)
        return rows.div_(self.total[:, None]).div_(self.how.temperature)
