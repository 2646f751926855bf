"""The weights of completions that another program sampled."""

from __future__ import annotations

import math

import pytest
import torch

from rl4bio.errors import ShapeError
from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.masking import lengths_to_mask

NAN = float("nan")

# Probabilities of the sampled tokens, by training and by the sampler; the last row has two tokens.
TRAINED = torch.tensor([[0.5, 0.2, 0.3], [0.4, 0.9, 0.5], [0.5, 0.25, NAN]], dtype=torch.float64)
SAMPLED = torch.tensor([[0.5, 0.4, 0.1], [0.2, 0.3, 0.8], [0.25, 0.25, NAN]], dtype=torch.float64)
MASK = lengths_to_mask(torch.tensor([3, 3, 2]), 3)


def test_token_weights_by_hand() -> None:
    # .5/.5, .2/.4, .3/.1 -> 2 | .4/.2, .9/.3 -> 2, .5/.8 | .5/.25, .25/.25, padding
    weights = sampling_correction(TRAINED.log(), SAMPLED.log(), MASK, cap=2.0)
    expected = [[1, 0.5, 2], [2, 2, 0.625], [2, 1, 1]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_sequence_weights_by_hand() -> None:
    # 1 * .5 * 3 = 1.5 | 2 * 3 * .625 = 3.75, above the cap | 2 * 1 = 2, the padding left out
    weights = sampling_correction(TRAINED.log(), SAMPLED.log(), MASK, cap=3.0, level="sequence")
    expected = [[1.5, 1.5, 1.5], [3, 3, 3], [2, 2, 1]]
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_sampler_that_agrees_is_left_alone(level: str) -> None:
    logprobs = TRAINED.log().float()
    weights = sampling_correction(logprobs, logprobs, MASK, cap=1.0, level=level)  # type: ignore[arg-type]
    assert weights.dtype == torch.float32
    assert (weights == 1).all()


def test_without_a_cap_the_weighted_sample_is_the_policy() -> None:
    """E_sampler[w f] = E_policy[f]: three tokens, drawn exactly as often as the sampler says."""
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    tokens = torch.tensor([0] * 2 + [1] * 3 + [2] * 5)  # the sampler's .2, .3, .5
    sampler = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    values = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    mask = torch.ones(10, 1, dtype=torch.bool)
    weights = sampling_correction(
        policy[tokens, None].log(), sampler[tokens, None].log(), mask, cap=math.inf
    )
    assert (weights[:, 0] * values[tokens]).mean().item() == pytest.approx(1.5 - 0.3 + 0.1)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_extreme_gaps_stay_finite(level: str) -> None:
    logprobs = torch.tensor([[-1.0], [-200.0], [-1.0]])
    sampled = torch.tensor([[-200.0], [-1.0], [-math.inf]])
    mask = torch.ones(3, 1, dtype=torch.bool)
    weights = sampling_correction(logprobs, sampled, mask, cap=2.0, level=level)  # type: ignore[arg-type]
    assert weights.flatten().tolist() == [2, 0, 2]


def test_weights_have_no_gradient_and_at_least_float32() -> None:
    logprobs = TRAINED.log().bfloat16().requires_grad_()
    weights = sampling_correction(logprobs, SAMPLED.log().bfloat16(), MASK, cap=2.0)
    assert weights.dtype == torch.float32
    assert not weights.requires_grad


def test_wrong_arguments_are_named() -> None:
    logprobs = TRAINED.log()
    with pytest.raises(ShapeError, match="sampled_logprobs has shape"):
        sampling_correction(logprobs, logprobs[:, :2], MASK, cap=2.0)
    with pytest.raises(ShapeError, match="mask has dtype"):
        sampling_correction(logprobs, logprobs, MASK.long(), cap=2.0)
    for cap in (0.5, NAN):
        with pytest.raises(ValueError, match="cap is"):
            sampling_correction(logprobs, logprobs, MASK, cap=cap)
    with pytest.raises(ValueError, match="unknown level 'row'"):
        sampling_correction(logprobs, logprobs, MASK, cap=2.0, level="row")  # type: ignore[arg-type]
