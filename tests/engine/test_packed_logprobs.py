"""Packed log-probabilities and gradients against the repeated-prompt computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rl4bio.engine import attention
from rl4bio.engine import packed_logprobs as scoring
from rl4bio.engine.hook import NAME, _in_force
from rl4bio.engine.layout import pack
from rl4bio.engine.packed_logprobs import packed_logprobs
from rl4bio.modules.plain_logprobs import completion_logprobs

PROMPTS = (11, 5, 1)  # the first is longer than the window of 8, the last one token
COMPLETIONS = ((9, 1, 4), (12, 6), (3,))


def make_rows(vocabulary: int) -> dict[str, Tensor]:
    """Ragged prompts (left-padded) and completions (right-padded), groups of unequal size."""
    generator = torch.Generator().manual_seed(3)

    def tokens(count: int) -> Tensor:
        return torch.randint(vocabulary, (count,), generator=generator)

    lengths = [length for group in COMPLETIONS for length in group]
    index = [b for b, group in enumerate(COMPLETIONS) for _ in group]
    p, c = max(PROMPTS), max(lengths)
    prompt_mask = torch.arange(p) >= p - torch.tensor(PROMPTS)[:, None]
    completion_mask = torch.arange(c) < torch.tensor(lengths)[:, None]
    return {
        "prompt_ids": tokens(len(PROMPTS) * p).view(-1, p),
        "prompt_mask": prompt_mask,
        "prompt_index": torch.tensor(index),
        "completion_ids": tokens(len(lengths) * c).view(-1, c),
        "completion_mask": completion_mask,
    }


def repeated(rows: dict[str, Tensor]) -> list[Tensor]:
    index = rows["prompt_index"]
    return [
        rows["prompt_ids"][index],
        rows["prompt_mask"][index],
        rows["completion_ids"],
        rows["completion_mask"],
    ]


def with_gradient(model: nn.Module, compute: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """Log-probs, and the gradients of a weighted sum of them as one vector."""
    model.zero_grad()
    logprobs = compute()
    weights = torch.linspace(-1.0, 1.0, logprobs.numel()).view(logprobs.shape)
    (logprobs * weights).sum().backward()
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return logprobs.detach(), torch.cat(grads)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_equal_to_repeated_prompts(
    family: str,
    fused: bool,
    checkpointing: bool,
    make_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring, "fused_is_better", lambda device: fused)
    model = make_model(family)
    own_attention = model.config._attn_implementation
    rows = make_rows(model.config.vocab_size)
    model.train()
    expected, expected_grad = with_gradient(
        model, lambda: completion_logprobs(model, *repeated(rows), temperature=0.7)[0]
    )
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def packed() -> Tensor:
        layout = pack(**rows)
        logprobs, _ = packed_logprobs(model, layout, temperature=0.7)
        return layout.unpack(logprobs, tuple(rows["completion_ids"].shape))

    found, grad = with_gradient(model, packed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert float((grad - expected_grad).norm() / expected_grad.norm()) < 1e-5
    assert model.config._attn_implementation == own_attention != NAME
    assert not _in_force


@pytest.mark.parametrize("family", ["gemma3", "molgpt"])
def test_trained_head_gets_its_gradient(family: str, make_model: Callable[..., Any]) -> None:
    model = make_model(family, lora=False)
    rows = make_rows(model.config.vocab_size)
    expected, expected_grad = with_gradient(
        model, lambda: completion_logprobs(model, *repeated(rows), temperature=1.0)[0]
    )

    def packed() -> Tensor:
        layout = pack(**rows)
        logprobs, _ = packed_logprobs(model, layout, temperature=1.0)
        return layout.unpack(logprobs, tuple(rows["completion_ids"].shape))

    found, grad = with_gradient(model, packed)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert float((grad - expected_grad).norm() / expected_grad.norm()) < 1e-5


@pytest.mark.parametrize("top_k", [None, 3])
def test_entropies_and_top_k(top_k: int | None, make_model: Callable[..., Any]) -> None:
    model = make_model("gemma3")
    rows = make_rows(model.config.vocab_size)
    with torch.no_grad():
        options: dict[str, Any] = {"temperature": 1.3, "top_k": top_k}
        logprobs, entropy = completion_logprobs(model, *repeated(rows), **options)
        layout = pack(**rows)
        shape = (len(rows["completion_ids"]), rows["completion_ids"].shape[1])
        found = [layout.unpack(v, shape) for v in packed_logprobs(model, layout, **options)]
    torch.testing.assert_close(found[0], logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], entropy, atol=1e-5, rtol=0)


def test_own_attention_is_back_after_an_error(make_model: Callable[..., Any]) -> None:
    model = make_model("gemma3")
    rows = make_rows(model.config.vocab_size)
    before = model.config._attn_implementation
    model.base_model.model.model.layers[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        packed_logprobs(model, pack(**rows), temperature=1.0)
    assert model.config._attn_implementation == before
    assert not _in_force


def test_many_micro_batches_before_a_checkpointed_backward(
    make_model: Callable[..., Any],
) -> None:
    """Two layouts are in flight at once; each recomputation must find its own."""
    model = make_model("gemma3")
    rows = make_rows(model.config.vocab_size)
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    first = {**rows, "completion_mask": rows["completion_mask"] & (torch.arange(12) < 5)}

    def one(some: dict[str, Tensor]) -> Tensor:
        return packed_logprobs(model, pack(**some), temperature=1.0)[0].sum()

    grads = []
    for together in (True, False):
        model.zero_grad()
        if together:
            (one(rows) + one(first)).backward()
        else:
            one(rows).backward()
            one(first).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    torch.testing.assert_close(grads[0], grads[1])


def test_large_scores_are_not_held(
    make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU's plain products give way to the fused kernel, with the same numbers."""
    model = make_model("gemma3")
    rows = make_rows(model.config.vocab_size)
    found = []
    for limit in (2**22, 0):
        monkeypatch.setattr(attention, "LARGE_SCORES", limit)
        with torch.no_grad():
            found.append(packed_logprobs(model, pack(**rows), temperature=1.0)[0])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    monkeypatch.setattr(attention, "plain_causal_attention", None)
    packed_logprobs(model, pack(**rows), temperature=1.0)
    monkeypatch.setattr(attention, "LARGE_SCORES", 2**22)
    with pytest.raises(TypeError):
        packed_logprobs(model, pack(**rows), temperature=1.0)
