"""The least time that a GRPO step of our formulation can take on a machine.

Matrix products at the machine's GEMM rate plus, while decoding, the weights read once a token where
that takes longer than their products. Nothing is counted for softmax, norms, rotary positions,
sampling, optimiser or Python. Our formulation: each prompt once and its completions behind it,
logits at scored positions alone, no weight gradients for the frozen base, the adapter folded in for
the rollout. Multiplications and additions count separately, so a product of [m,k] and [k,n] has
2mkn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import linear

from benchmarks.lab import ModelShape

RANK = 16
"""Of the adapter."""
PACKED_BYTES = 10e9
"""Bytes of weights a second that a CPU's packed products of eight rows get through while decoding,
in bfloat16; a third of what a sum reads."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the machine reached in this run."""

    flops: float
    """Floating-point operations a second of a large matrix product."""
    bytes: float
    """Bytes read a second."""

    def best(self, other: Rates) -> Rates:
        """The higher of each of two measurements."""
        return Rates(flops=max(self.flops, other.flops), bytes=max(self.bytes, other.bytes))


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Seconds of a step's parts."""

    rollout_s: float
    reference_s: float
    update_s: float

    @property
    def step_s(self) -> float:
        return self.rollout_s + self.reference_s + self.update_s


def keys_seen(start: int, stop: int, window: int | None) -> int:
    """Keys that the queries at positions [start, stop) attend to in total.

    Position p sees min(p + 1, window) keys.
    """
    return sum(min(p + 1, window or p + 1) for p in range(start, stop))


def body_weights(shape: ModelShape) -> int:
    """Entries of all linear layers, the head apart."""
    return shape.num_layers * sum(k * n for k, n in shape.linears().values())


def adapter_weights(shape: ModelShape) -> int:
    """Entries of a LoRA adapter on all linear layers."""
    return shape.num_layers * sum(RANK * (k + n) for k, n in shape.linears().values())


def attention_flops(shape: ModelShape, start: int, stop: int) -> int:
    """Scores and weighted values of the queries at positions [start, stop), over all layers."""
    pairs = sum(
        keys_seen(start, stop, None if full else shape.window) for full in shape.full_attention
    )
    return 2 * 2 * shape.num_heads * shape.head_width * pairs


def step_floor(
    shape: ModelShape,
    rates: Rates,
    *,
    num_prompts: int,
    group_size: int,
    prompt_tokens: int,
    completion_tokens: int,
    weight_bytes: int,
    kl: bool = True,
) -> Floor:
    """The floor of one step with one update.

    Args:
        shape: of the model.
        rates: of the machine.
        num_prompts: B.
        group_size: G.
        prompt_tokens: P.
        completion_tokens: C, of every completion.
        weight_bytes: of one weight while decoding.
        kl: whether there is a reference pass.
    """
    rows, end = num_prompts * group_size, prompt_tokens + completion_tokens
    body, head = body_weights(shape), shape.width * shape.vocabulary
    prompts = attention_flops(shape, 0, prompt_tokens)
    # The last completion token is never fed, and the last prompt token predicts the first.
    completions = attention_flops(shape, prompt_tokens, end - 1)
    fed = num_prompts * prompt_tokens + rows * (completion_tokens - 1)
    attention = num_prompts * prompts + rows * completions

    prefill = 2 * body * num_prompts * prompt_tokens + num_prompts * (2 * head + prompts)
    decode = 2 * (body + head) * rows * (completion_tokens - 1) + rows * completions
    streamed = weight_bytes * (body + head) * (completion_tokens - 1)
    rollout = prefill / rates.flops + max(decode / rates.flops, streamed / rates.bytes)

    scoring = 2 * body * fed + attention + 2 * head * rows * completion_tokens
    adapter = 2 * adapter_weights(shape) * fed
    # Backward: the gradient of each product's input (attention has two inputs), and of the adapter.
    update = 2 * scoring + attention + 3 * adapter
    return Floor(
        rollout_s=rollout,
        reference_s=scoring / rates.flops if kl else 0.0,
        update_s=update / rates.flops,
    )


def measure_rates(dtype: torch.dtype, *, device: str = "cpu", repeats: int = 12) -> Rates:
    """The best of some repetitions of a large product, and of a large read (a copy on a GPU).

    On a CPU per second of CPU time, so that other processes make them no slower than they must.

    Args:
        dtype: of the product.
        device: cpu or cuda.
        repeats: of each.
    """
    cuda = device == "cuda"
    clock = time.perf_counter if cuda else time.process_time

    def best(function: Callable[[], object]) -> float:
        seconds = []
        for _ in range(repeats + 1):
            if cuda:
                torch.cuda.synchronize()
            start = clock()
            function()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(clock() - start)
        return min(seconds[1:])

    n = 8192 if cuda else 1024
    x, weight = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    flops = 2 * n**3 / best(lambda: linear(x, weight))
    source = torch.ones(2**28 if cuda else 2**25, device=device)  # float32
    if cuda:
        target = torch.empty_like(source)
        moved, seconds = 8 * source.numel(), best(lambda: target.copy_(source))
    else:
        moved, seconds = 4 * source.numel(), best(lambda: source.sum())
    return Rates(flops=flops, bytes=moved / seconds)
