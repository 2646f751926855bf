"""KL estimators on a categorical distribution small enough to enumerate every action."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.kl import kl_terms

POLICY_LOGITS = [0.3, -0.4, 1.1, 0.0]
REFERENCE_LOGITS = [-0.2, 0.5, 0.1, -0.6]
SAMPLING_LOGITS = [0.9, 0.1, -0.3, 0.2]


def log_softmax(logits: list[float], *, requires_grad: bool = False) -> tuple[Tensor, Tensor]:
    """A leaf of logits and its log-probabilities, one row an action: [V] and [V, 1]."""
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=requires_grad)
    return leaf, torch.log_softmax(leaf, dim=0)[:, None]


def kl_gradient(*, forward: bool) -> Tensor:
    """Closed-form gradient of KL(policy || reference), or of KL(reference || policy) if forward.

    For a softmax: p_v (log p_v / q_v - KL), and p_v - q_v.
    """
    p = torch.softmax(torch.tensor(POLICY_LOGITS, dtype=torch.float64), dim=0)
    q = torch.softmax(torch.tensor(REFERENCE_LOGITS, dtype=torch.float64), dim=0)
    if forward:
        return p - q
    log_ratio = (p / q).log()
    return p * (log_ratio - (p * log_ratio).sum())


def expected_gradient(estimator: str, *, weighted: bool, off_policy: bool = False) -> Tensor:
    """Gradient of the estimate, averaged over actions sampled from the (old) policy."""
    leaf, logprobs = log_softmax(POLICY_LOGITS, requires_grad=True)
    _, ref_logprobs = log_softmax(REFERENCE_LOGITS)
    old_logprobs = log_softmax(SAMPLING_LOGITS)[1] if off_policy else logprobs.detach()
    ratio = (logprobs - old_logprobs).exp() if weighted else None
    terms = kl_terms(logprobs, ref_logprobs, estimator=estimator, ratio=ratio)  # type: ignore[arg-type]
    (old_logprobs.exp() * terms).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def test_values_by_hand() -> None:
    # the policy is twice as likely as the reference: u = ln 2 = .693147
    logprobs, ref_logprobs = torch.tensor([[0.8]]).log().double(), torch.tensor([[0.4]]).log()
    values = {"k1": 0.693147, "k2": 0.240227, "k3": 0.193147}  # u, u^2 / 2, 1/2 - 1 + u
    for estimator, value in values.items():
        terms = kl_terms(logprobs, ref_logprobs.double(), estimator=estimator)  # type: ignore[arg-type]
        assert terms.item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
@pytest.mark.parametrize("off_policy", [False, True])
def test_k1_and_k3_are_unbiased(estimator: str, off_policy: bool) -> None:
    _, logprobs = log_softmax(POLICY_LOGITS)
    _, ref_logprobs = log_softmax(REFERENCE_LOGITS)
    old_logprobs = log_softmax(SAMPLING_LOGITS)[1] if off_policy else logprobs
    ratio = (logprobs - old_logprobs).exp()
    terms = kl_terms(logprobs, ref_logprobs, estimator=estimator, ratio=ratio)  # type: ignore[arg-type]
    expected = (logprobs.exp() * (logprobs - ref_logprobs)).sum()
    torch.testing.assert_close((old_logprobs.exp() * terms).sum(), expected)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("off_policy", [False, True])
def test_ratio_weighted_estimators_give_the_reverse_kl_gradient(
    estimator: str, off_policy: bool
) -> None:
    gradient = expected_gradient(estimator, weighted=True, off_policy=off_policy)
    torch.testing.assert_close(gradient, kl_gradient(forward=False))


def test_plain_k1_gives_no_gradient() -> None:
    gradient = expected_gradient("k1", weighted=False)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-15, rtol=0)


def test_plain_k2_gives_the_reverse_kl_gradient_on_fresh_samples() -> None:
    gradient = expected_gradient("k2", weighted=False)
    torch.testing.assert_close(gradient, kl_gradient(forward=False))


def test_plain_k3_gives_the_forward_kl_gradient() -> None:
    gradient = expected_gradient("k3", weighted=False)
    torch.testing.assert_close(gradient, kl_gradient(forward=True))
    assert not torch.allclose(gradient, kl_gradient(forward=False), atol=0.05)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_a_policy_does_not_diverge_from_itself(estimator: str) -> None:
    _, logprobs = log_softmax(POLICY_LOGITS)
    assert (kl_terms(logprobs, logprobs, estimator=estimator) == 0).all()  # type: ignore[arg-type]


def test_k3_keeps_its_digits_near_zero() -> None:
    # e^-u - 1 + u loses all of them in float32 at u = 1e-4; the series says u^2 / 2 = 5e-9
    terms = kl_terms(torch.tensor([[-1.0 + 2**-13]]), torch.tensor([[-1.0]]))
    assert terms.item() == pytest.approx(2.0**-27, rel=1e-3)


def test_one_ratio_a_completion_is_broadcast() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-0.5, -1.5]])
    terms = kl_terms(logprobs, torch.full((2, 2), -1.0), ratio=torch.tensor([[2.0], [3.0]]))
    plain = kl_terms(logprobs, torch.full((2, 2), -1.0))
    torch.testing.assert_close(terms, plain * torch.tensor([[2.0], [3.0]]))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ShapeError, match="ref_logprobs has shape"):
        kl_terms(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError, match="ratio has shape"):
        kl_terms(torch.zeros(2, 3), torch.zeros(2, 3), ratio=torch.zeros(2))
    with pytest.raises(ValueError, match="unknown estimator 'k4'"):
        kl_terms(torch.zeros(2, 3), torch.zeros(2, 3), estimator="k4")  # type: ignore[arg-type]
