"""Token log-probabilities and entropies against a float64 oracle."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional import logprobs as kernel
from rl4bio.functional.logprobs import logprobs_and_entropy, token_logprobs

# fewer logits than one row, than one token, and more than all
BLOCKS = [1, 150, 10**6]


def oracle(logits: Tensor, ids: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Both statistics from the textbook formula in float64."""
    log_p = torch.log_softmax(logits.double() / temperature, dim=-1)
    return log_p.gather(-1, ids[..., None]).squeeze(-1), -(log_p.exp() * log_p).sum(dim=-1)


def random_inputs(
    rows: int = 3, width: int = 5, vocabulary: int = 50, spread: float = 8.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(rows, width, vocabulary, generator=generator)
    return logits, torch.randint(vocabulary, (rows, width), generator=generator)


def test_two_equal_logits_by_hand() -> None:
    # p = (1/2, 1/2, 0): log p = -ln 2 and H = ln 2; a temperature changes neither
    logits = torch.tensor([[[3.0, 3.0, float("-inf")]]], dtype=torch.float64)
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([[1]]), temperature=0.7)
    assert logprobs.item() == pytest.approx(-math.log(2), abs=1e-15)
    assert entropy.item() == pytest.approx(math.log(2), abs=1e-15)


def test_temperature_divides_the_logits() -> None:
    # logits (ln 9, 0) at temperature 2 are (ln 3, 0): p = (3/4, 1/4)
    logits = torch.tensor([[[math.log(9.0), 0.0]]], dtype=torch.float64)
    logprobs = token_logprobs(logits, torch.tensor([[0]]), temperature=2.0)
    assert logprobs.item() == pytest.approx(math.log(0.75), abs=1e-15)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_float32_agrees_with_float64(
    monkeypatch: pytest.MonkeyPatch, block: int, temperature: float
) -> None:
    monkeypatch.setattr(kernel, "BLOCK_ELEMENTS", block)
    logits, ids = random_inputs()
    logprobs, entropy = logprobs_and_entropy(logits, ids, temperature=temperature)
    expected_logprobs, expected_entropy = oracle(logits, ids, temperature)
    assert logprobs.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), expected_logprobs, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=1e-6, rtol=1e-6)


def test_a_large_vocabulary_and_logits_far_from_zero() -> None:
    # sum p * z in float32 loses digits at z = 300, a running sum of 262,144 terms as well;
    # the wider tolerance is the rounding of one number near 12
    logits, ids = random_inputs(rows=1, width=2, vocabulary=262_144, spread=3.0)
    logits = logits + 300
    logprobs, entropy = logprobs_and_entropy(logits, ids, temperature=0.9)
    expected_logprobs, expected_entropy = oracle(logits, ids, 0.9)
    torch.testing.assert_close(logprobs.double(), expected_logprobs, atol=2e-6, rtol=0)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_upcast_first(dtype: torch.dtype) -> None:
    logits, ids = random_inputs()
    logits = logits.to(dtype)
    logprobs, entropy = logprobs_and_entropy(logits, ids, temperature=0.8)
    expected_logprobs, expected_entropy = oracle(logits, ids, 0.8)
    torch.testing.assert_close(logprobs.double(), expected_logprobs, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(entropy.double(), expected_entropy, atol=1e-6, rtol=1e-6)


def test_both_functions_agree() -> None:
    logits, ids = random_inputs()
    logprobs, _ = logprobs_and_entropy(logits, ids, temperature=0.9)
    assert torch.equal(token_logprobs(logits, ids, temperature=0.9), logprobs)


@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_of_both_outputs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(kernel, "BLOCK_ELEMENTS", block)
    logits, ids = random_inputs(rows=2, width=3, vocabulary=5, spread=1.0)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: logprobs_and_entropy(z, ids, temperature=0.7), logits)
    assert torch.autograd.gradcheck(lambda z: token_logprobs(z, ids, temperature=0.7), logits)


def test_a_token_of_probability_zero_gets_no_gradient_and_spoils_none() -> None:
    logits = torch.tensor([[[1.0, 2.0, float("-inf")]]], requires_grad=True)
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([[0]]))
    (logprobs + entropy).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 2] == 0


def test_the_gradient_comes_in_the_precision_of_the_logits() -> None:
    logits, ids = random_inputs()
    full = logits.bfloat16().double().requires_grad_()
    half = logits.bfloat16().requires_grad_()
    token_logprobs(full, ids).sum().backward()
    token_logprobs(half, ids).sum().backward()
    assert half.grad is not None
    assert full.grad is not None
    assert half.grad.dtype == torch.bfloat16
    # rounded once, at the end: 8 bits of mantissa
    torch.testing.assert_close(half.grad.double(), full.grad, atol=1e-6, rtol=2**-8)


def test_a_shifted_view_of_the_logits_gets_its_gradient() -> None:
    # the logits of a completion are a slice of those of prompt + completion
    logits, ids = random_inputs(rows=2, width=6)
    logits = logits.double().requires_grad_()
    token_logprobs(logits[:, 1:-1], ids[:, 2:]).sum().backward()
    expected = logits.detach().clone().requires_grad_()
    log_p = torch.log_softmax(expected, dim=-1)[:, 1:-1]
    log_p.gather(-1, ids[:, 2:, None]).sum().backward()
    torch.testing.assert_close(logits.grad, expected.grad)


def test_backward_keeps_no_float32_copy_of_the_logits() -> None:
    logits, ids = random_inputs(rows=2, width=4, vocabulary=1000)
    logits = logits.bfloat16().requires_grad_()
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        logprobs_and_entropy(logits, ids)
    large = [t for t in saved if t.numel() >= logits.numel()]
    assert [t.data_ptr() for t in large] == [logits.data_ptr()]


def test_empty_completions() -> None:
    logits = torch.empty(3, 0, 7, requires_grad=True)
    logprobs, entropy = logprobs_and_entropy(logits, torch.empty(3, 0, dtype=torch.long))
    assert logprobs.shape == entropy.shape == (3, 0)
    logprobs.sum().backward()
    assert logits.grad is not None


def test_wrong_arguments_are_named() -> None:
    logits, ids = random_inputs()
    with pytest.raises(
        ShapeError, match=r"token_logprobs: ids has shape \[3, 4\], expected \[3, 5\]"
    ):
        token_logprobs(logits, ids[:, :4])
    with pytest.raises(ShapeError, match="logits has shape"):
        logprobs_and_entropy(logits[0], ids)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature is"):
            token_logprobs(logits, ids, temperature=temperature)


# Four tokens of probability .4, .3, .2 and .1; logits[0, t] is this table for each t.
FOUR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log().repeat(1, 4, 1)
EACH = torch.arange(4)[None]


class TestTopK:
    def test_by_hand(self) -> None:
        """k = 2 keeps .4 + .3; a given token outside joins them: .2/.9 and .1/.8."""
        logprobs, entropy = logprobs_and_entropy(FOUR, EACH, top_k=2)
        by_hand = [0.4 / 0.7, 0.3 / 0.7, 0.2 / 0.9, 0.1 / 0.8]
        assert logprobs[0].exp().tolist() == pytest.approx(by_hand, abs=1e-12)
        kept = [(0.4, 0.3), (0.4, 0.3), (0.4, 0.3, 0.2), (0.4, 0.3, 0.1)]
        for found, ps in zip(entropy[0].tolist(), kept, strict=True):
            shares = [p / sum(ps) for p in ps]
            assert found == pytest.approx(-sum(p * math.log(p) for p in shares), abs=1e-12)

    def test_temperature_comes_first(self) -> None:
        # At temperature 1/2 probabilities go as their squares: .16 + .09 of k = 2.
        logprobs = token_logprobs(FOUR, EACH, temperature=0.5, top_k=2)
        assert logprobs[0, 0].exp().item() == pytest.approx(0.16 / 0.25, abs=1e-12)
        assert logprobs[0, 3].exp().item() == pytest.approx(0.01 / 0.26, abs=1e-12)

    def test_ties_at_the_kth_all_stay(self) -> None:
        table = torch.tensor([0.4, 0.2, 0.2, 0.2], dtype=torch.float64).log().repeat(1, 4, 1)
        assert torch.equal(
            token_logprobs(table, EACH, top_k=2), token_logprobs(table, EACH, top_k=4)
        )

    @pytest.mark.parametrize("top_k", [4, 5, None])
    def test_all_of_the_vocabulary_is_no_truncation(self, top_k: int | None) -> None:
        logits, ids = random_inputs(vocabulary=4)
        plain = logprobs_and_entropy(logits, ids, temperature=0.7)
        same = logprobs_and_entropy(logits, ids, temperature=0.7, top_k=top_k)
        assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))

    @pytest.mark.parametrize("block", BLOCKS)
    def test_gradient_is_that_of_the_truncated_softmax(
        self, monkeypatch: pytest.MonkeyPatch, block: int
    ) -> None:
        monkeypatch.setattr(kernel, "BLOCK_ELEMENTS", block)
        logits, ids = random_inputs(vocabulary=9, spread=2.0)
        logits = logits.double().requires_grad_()
        weights = torch.randn(ids.shape, dtype=torch.float64)
        kernel_value = (token_logprobs(logits, ids, temperature=0.8, top_k=3) * weights).sum()
        (kernel_grad,) = torch.autograd.grad(kernel_value, logits)
        order = logits.argsort(-1, descending=True)[..., :3]
        inside = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, order, True)
        inside.scatter_(-1, ids[..., None], True)
        assert (inside.sum(-1) == 4).any()  # a given token outside the top 3
        masked = torch.where(inside, logits, -torch.inf) / 0.8
        plain = torch.log_softmax(masked, -1).gather(-1, ids[..., None]).squeeze(-1)
        (plain_grad,) = torch.autograd.grad((plain * weights).sum(), logits)
        torch.testing.assert_close(kernel_value, (plain * weights).sum())
        torch.testing.assert_close(kernel_grad, plain_grad)

    def test_keep_top_k(self) -> None:
        kept = kernel.keep_top_k(FOUR, 1, torch.tensor([[0, 1, 2, 3]]))
        assert torch.isfinite(kept).sum(-1).tolist() == [[1, 2, 2, 2]]
        assert torch.isfinite(kernel.keep_top_k(FOUR, 3)).sum(-1).tolist() == [[3] * 4]
        for wrong in (kernel.keep_top_k, lambda x, k: token_logprobs(x, EACH, top_k=k)):
            with pytest.raises(ValueError, match="top_k is 0"):
                wrong(FOUR, 0)
