"""The floor's arithmetic, by hand and against torch's own count."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.floor import (
    Rates,
    adapter_weights,
    attention_flops,
    body_weights,
    keys_seen,
    measure_rates,
    step_floor,
)
from benchmarks.lab import TINY, build_model, build_tokenizer

# TINY: width 32, queries 2*16 = 32, keys 16, MLP 64, 2 layers.
# A layer's linears: q 32*32, k and v 32*16, o 32*32, gate, up and down 32*64.
BODY = 2 * (1024 + 512 + 512 + 1024 + 3 * 2048)  # 18,432
HEAD = 32 * 1024
ADAPTER = 2 * 16 * (64 + 48 + 48 + 64 + 3 * 96)  # 16,384


@pytest.mark.parametrize(
    ("start", "stop", "window", "keys"),
    [(0, 4, None, 1 + 2 + 3 + 4), (0, 4, 2, 1 + 2 + 2 + 2), (2, 5, 3, 3 + 3 + 3), (3, 3, None, 0)],
)
def test_keys_that_queries_see(start: int, stop: int, window: int | None, keys: int) -> None:
    assert keys_seen(start, stop, window) == keys


def test_weights_of_the_linear_layers() -> None:
    assert body_weights(TINY) == BODY
    assert adapter_weights(TINY) == ADAPTER


def test_a_forward_has_the_products_that_torch_counts() -> None:
    tokenizer = build_tokenizer(TINY.vocabulary)
    model = build_model(TINY, tokenizer, dtype=torch.float32, device="cpu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(10, 30).unsqueeze(0))
    counts = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    assert counts["aten.mm"] == 20 * 2 * (BODY + HEAD)


# The numbers below are for 1 prompt of 1 token and 2 completions of 2 tokens: 1 + 2*1 tokens are
# fed, 4 scored. Scores and values cost 2*2*32 = 128 per key and layer; the prompt's query sees one
# key, each completion's two, in both layers: 256 and 512 each.
FED, SCORED, ATTENTION = 3, 4, 256 + 2 * 512


def floor_at(rates: Rates, *, kl: bool = True) -> tuple[float, float, float]:
    found = step_floor(
        TINY,
        rates,
        num_prompts=1,
        group_size=2,
        prompt_tokens=1,
        completion_tokens=2,
        weight_bytes=4,
        kl=kl,
    )
    assert found.step_s == found.rollout_s + found.reference_s + found.update_s
    return dataclasses.astuple(found)


def test_a_step_limited_by_products() -> None:
    assert attention_flops(TINY, 0, 1) == 256
    assert attention_flops(TINY, 1, 2) == 512
    scoring = 2 * BODY * FED + ATTENTION + 2 * HEAD * SCORED
    rollout = 2 * BODY * 1 + 2 * HEAD + 256 + 2 * (2 * (BODY + HEAD) + 512)
    # Forward, the gradients of the inputs (attention has two), the adapter forward and backward.
    update = scoring + scoring + ATTENTION + 3 * 2 * ADAPTER * FED
    assert floor_at(Rates(flops=1.0, bytes=1e30)) == (rollout, scoring, update)


def test_decoding_limited_by_reading_the_weights() -> None:
    rollout, reference, update = floor_at(Rates(flops=1e30, bytes=2.0))
    assert rollout == pytest.approx(4 * (BODY + HEAD) * 1 / 2)  # one token of each is fed
    assert max(reference, update) < 1e-9


def test_without_kl_there_is_no_reference() -> None:
    assert floor_at(Rates(flops=1.0, bytes=1.0), kl=False)[1] == 0.0


def test_the_machine_has_rates() -> None:
    rates = measure_rates(torch.float32, repeats=1)
    assert 1e8 < rates.flops < 1e15
    assert 1e8 < rates.bytes < 1e13
    assert Rates(flops=2.0, bytes=1.0).best(Rates(flops=1.0, bytes=3.0)) == Rates(flops=2, bytes=3)
