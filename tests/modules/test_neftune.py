"""Noise on embeddings: its size, what it depends on, where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rl4bio.modules.demonstrations import demonstration_logprobs, encode_demonstrations
from rl4bio.modules.dropout import switch_off_dropout
from rl4bio.modules.neftune import embedding_noise, noisy_embeddings
from rl4bio.modules.policy import Policy
from rl4bio.sections import SFTConfig
from rl4bio.types import Sample

CPU = torch.device("cpu")


def test_size_is_that_of_the_paper() -> None:
    """alpha 6 over sqrt(9 * 400) = 60: uniform within 0.1, of standard deviation 0.1 / sqrt(3)."""
    noise = embedding_noise([9, 100], 400, seeds=[1, 2], alpha=6.0, device=CPU)
    assert noise.shape == (109, 400)
    short, long = noise[:9], noise[9:]
    assert 0.099 < short.max() <= 0.1
    assert -0.1 <= short.min() < -0.099
    assert short.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    # 6 / sqrt(100 * 400) = 0.03; the whole noise of a sequence is as long as the short one's.
    assert 0.0299 < long.abs().max() <= 0.03
    assert long.norm().item() == pytest.approx(short.norm().item(), rel=0.03)
    assert short.norm().item() == pytest.approx(6 / 3**0.5, rel=0.03)


def test_noise_depends_on_seed_and_length_alone() -> None:
    first = embedding_noise([3, 5], 4, seeds=[7, 8], alpha=1.0, device=CPU)
    again = embedding_noise([5, 3, 3], 4, seeds=[8, 7, 9], alpha=1.0, device=CPU)
    assert torch.equal(again[:5], first[3:])
    assert torch.equal(again[5:8], first[:3])
    assert not torch.equal(again[8:], first[:3])


@pytest.fixture
def rows_and_policy(make_policy: Callable[..., Policy], four_samples: list[Sample]) -> Any:
    def make(family: str, **options: Any) -> tuple[Policy, Any]:
        policy = make_policy(family, **options)
        switch_off_dropout(policy.model)
        return policy, encode_demonstrations(policy, four_samples, SFTConfig())

    return make


@pytest.mark.parametrize("family", ["gemma3", "gpt2"])
def test_packed_noise_is_padded_noise(rows_and_policy: Any, family: str) -> None:
    policy, rows = rows_and_policy(family, lora=True)
    options = {"noise_seeds": [4, 5, 6, 7], "neftune_alpha": 5.0}
    with torch.no_grad():
        plain = demonstration_logprobs(policy.model, rows)
        padded = demonstration_logprobs(policy.model, rows, **options)
        packed = demonstration_logprobs(policy.model, rows, packed=True, **options)
        after = demonstration_logprobs(policy.model, rows, packed=True)
    assert (padded - plain).abs().max() > 0.1
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=0)
    torch.testing.assert_close(after, plain, atol=1e-5, rtol=0)  # none is left


def test_it_is_the_noise_that_is_added(rows_and_policy: Any) -> None:
    """What the first layer reads is embedding + noise of the row, and 0 on padding."""
    policy, rows = rows_and_policy("llama")
    fed = rows.mask[:, 1:]
    ids = rows.ids[:, :-1]
    table = policy.model.get_input_embeddings()
    plain = table(ids).detach()
    seeds = [1, 2, 3, 4]
    with noisy_embeddings(policy.model, fed, seeds=seeds, alpha=5.0, packed=False):
        noisy = table(ids).detach()
        second = table(ids).detach()
    assert torch.equal(second, plain)  # a later look-up is not the sequence's
    lengths = fed.sum(-1).tolist()
    wanted = embedding_noise(lengths, plain.shape[-1], seeds=seeds, alpha=5.0, device=CPU)
    torch.testing.assert_close((noisy - plain)[fed], wanted, atol=1e-6, rtol=0)
    assert torch.equal(noisy[~fed], plain[~fed])
    assert torch.equal(table(ids).detach(), plain)


def test_no_noise_after_an_error(rows_and_policy: Any) -> None:
    policy, rows = rows_and_policy("llama")
    table = policy.model.get_input_embeddings()
    with (
        pytest.raises(ZeroDivisionError),
        noisy_embeddings(policy.model, rows.mask, seeds=[1] * 4, alpha=5.0, packed=False),
    ):
        raise ZeroDivisionError
    assert not table._forward_hooks
