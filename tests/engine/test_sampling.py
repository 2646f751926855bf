"""The sampler against cumulative sums in float64."""

from __future__ import annotations

import pytest
import torch

from rl4bio.engine import sampling
from rl4bio.engine.sampling import finest, sample_tokens


def test_inverts_the_distribution() -> None:
    probabilities = torch.tensor([0.25, 0.0, 0.5, 0.25])
    noise = torch.tensor([0.0, 0.2499, 0.2501, 0.5, 0.7499, 0.7501, 1.0]).double()
    noise[-1] = 1 - 2**-53
    table = probabilities.log().repeat(len(noise), 1)
    # The cumulative sums are .25, .25, .75, 1; a token of probability 0 is never picked.
    tokens, logprobs = sample_tokens(table, noise, temperature=1.0)
    assert tokens.tolist() == [0, 0, 2, 2, 2, 3, 3]
    torch.testing.assert_close(logprobs, probabilities[tokens].log())
    tokens, logprobs = sample_tokens(table, None, temperature=1.0)
    assert tokens.tolist() == [2] * len(noise)
    torch.testing.assert_close(logprobs, torch.full((7,), 0.5).log())


def test_never_picks_an_impossible_first_token() -> None:
    table = torch.tensor([[0.0, 1.0]]).log()
    tokens, _ = sample_tokens(table, torch.zeros(1, dtype=torch.float64), temperature=1.0)
    assert tokens.tolist() == [1]


def test_a_device_without_float64_samples_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's; noise that rounds to 1 there is the last token that has a chance."""
    assert finest(torch.device("mps")) == torch.float32
    assert finest(torch.device("cuda")) == finest(torch.device("cpu")) == torch.float64
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(500, 1200, generator=generator)
    logits[:, -1] = float("-inf")
    noise = torch.rand(500, generator=generator, dtype=torch.float64)
    noise[0] = 1 - 2**-53
    tokens, logprobs = sample_tokens(logits, noise, temperature=1.0)
    monkeypatch.setattr(sampling, "finest", lambda device: torch.float32)
    monkeypatch.setattr(torch.Tensor, "double", None)  # nothing may ask for it
    found, same = sample_tokens(logits, noise, temperature=1.0)
    assert (found == tokens).float().mean() > 0.99
    assert int(found[0]) < 1199
    equal = found == tokens
    torch.testing.assert_close(same[equal], logprobs[equal])


@pytest.mark.parametrize("vocabulary", [5, 16, 100, 1000])
@pytest.mark.parametrize("top_k", [None, 7])
def test_blocks_do_not_matter(
    vocabulary: int, top_k: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens are those of one cumulative sum over the whole vocabulary, in float64."""
    monkeypatch.setattr(sampling, "BLOCK", 16)
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 3 * torch.randn(500, vocabulary, generator=generator)
    noise = torch.rand(500, generator=generator, dtype=torch.float64)
    tokens, logprobs = sample_tokens(logits, noise, temperature=0.7, top_k=top_k)
    exact = logits.double() / 0.7
    if top_k is not None and top_k < vocabulary:
        exact = exact.masked_fill(exact < exact.topk(top_k).values[:, -1:], float("-inf"))
    exact = torch.log_softmax(exact, -1)
    cumulative = exact.exp().cumsum(-1)
    expected = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)
    assert (tokens == expected.squeeze(1)).float().mean() > 0.995  # float32 edges may round over
    gap = logprobs.double() - exact.gather(1, tokens[:, None]).squeeze(1)
    assert float(gap.abs().max()) < 2e-6


def test_not_finite_logits_give_not_finite_log_probabilities() -> None:
    logits = torch.zeros(3, 6)
    logits[0, 2], logits[1, 3] = float("nan"), float("inf")
    noise = torch.full((3,), 0.5, dtype=torch.float64)
    _, logprobs = sample_tokens(logits, noise, temperature=1.0)
    assert logprobs.isfinite().tolist() == [False, False, True]


def test_logits_are_left_as_they_were() -> None:
    logits = torch.randn(2, 9)
    before = logits.clone()
    sample_tokens(logits, None, temperature=0.5)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("vocabulary", [40, 3000])
def test_rounding_never_picks_a_token_of_no_weight(vocabulary: int) -> None:
    # A float32 sum may lie above the float64 sum of the same numbers, by 1e-8 or so; 1 - 2^-45
    # falls into that gap, behind which the last tokens of the vocabulary and of a block follow.
    logits = torch.randn(2000, vocabulary, generator=torch.Generator().manual_seed(0))
    logits[:, -3:] = float("-inf")
    logits[:, 5 * sampling.BLOCK - 3 :] = float("-inf")
    noise = torch.full((2000,), 1 - 2.0**-45, dtype=torch.float64)
    tokens, logprobs = sample_tokens(logits, noise, temperature=1.0)
    assert logprobs.isfinite().all()
    assert (tokens > min(vocabulary, 5 * sampling.BLOCK) - 30).all()


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_log_probabilities_are_those_of_float64(greedy: bool, temperature: float) -> None:
    """Of bfloat16 logits too, and far below the likeliest, where a rough exponential would show."""
    generator = torch.Generator().manual_seed(5)
    logits = (12 * torch.randn(256, 5000, generator=generator)).bfloat16()
    noise = torch.rand(256, generator=generator, dtype=torch.float64)
    tokens, logprobs = sample_tokens(logits, None if greedy else noise, temperature=temperature)
    exact = torch.log_softmax(logits.double() / temperature, -1).gather(1, tokens[:, None])
    torch.testing.assert_close(logprobs.double(), exact.squeeze(1), atol=3e-6, rtol=1e-6)
    if greedy:
        assert torch.equal(logits.gather(1, tokens[:, None]), logits.amax(-1, keepdim=True))
