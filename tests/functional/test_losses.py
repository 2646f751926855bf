"""The losses: recorded numbers, exact gradients of small problems, invariances."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import fields
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from rl4bio.errors import ShapeError
from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import LOSSES, grpo_loss
from rl4bio.functional.masking import lengths_to_mask
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.sections import GRPOConfig, LossKind
from rl4bio.types import LossTerms

KINDS = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
NAN = float("nan")

# Loss and sum of |d loss / d logprobs| as TRL 1.16 computes them: without KL, and with 0.04 * KL.
GOLDENS = {
    ("grpo", "token"): (0.01377003, 0.25964960, 0.01427362, 0.26055612),
    ("grpo", "sequence"): (0.00796051, 0.36027018, 0.00845294, 0.36017209),
    ("bnpo", "token"): (-0.01282517, 0.28212707, -0.01232855, 0.28298050),
    ("bnpo", "sequence"): (-0.01844008, 0.41240140, -0.01796062, 0.41235914),
    ("dr_grpo", "token"): (-0.00545070, 0.11990401, -0.00523963, 0.12026671),
    ("dr_grpo", "sequence"): (-0.00783703, 0.17527060, -0.00763326, 0.17525263),
    ("dapo", "token"): (-0.02180278, 0.47961602, -0.02095854, 0.48106685),
    ("dapo", "sequence"): (-0.03134814, 0.70108239, -0.03053305, 0.70101053),
    ("cispo", "token"): (0.03342164, 0.72424440, 0.03426589, 0.72468836),
    ("cispo", "sequence"): (0.02541740, 0.70108239, 0.02623249, 0.70101053),
    ("sapo", "token"): (-0.00981781, 0.36507520, -0.00931422, 0.36539974),
    ("sapo", "sequence"): (-0.00989926, 0.36005734, -0.00940683, 0.35995924),
    ("luspo", "token"): (-0.05450696, 1.19904006, -0.05239634, 1.20266713),
    ("luspo", "sequence"): (-0.07837034, 1.75270597, -0.07633262, 1.75252634),
    ("vespo", "token"): (0.14143842, 0.78630676, 0.14228267, 0.78675072),
}
PAIRS = list(GOLDENS)

# The same with 0.04 * KL and importance weights of an inexact sampler, truncated at 1.3, by loss,
# level of the ratio and level of the weights. TRL wants token weights for vespo.
CORRECTED = {
    ("grpo", "token", "token"): (0.03512850, 0.58020783),
    ("grpo", "token", "sequence"): (-0.01321767, 0.50400587),
    ("grpo", "sequence", "token"): (-0.00542954, 0.72382076),
    ("grpo", "sequence", "sequence"): (-0.02330777, 0.67506022),
    ("bnpo", "token", "token"): (-0.00072485, 0.61780676),
    ("bnpo", "token", "sequence"): (-0.06523715, 0.51743438),
    ("bnpo", "sequence", "token"): (-0.04690810, 0.81024977),
    ("bnpo", "sequence", "sequence"): (-0.07444922, 0.73911009),
    ("dr_grpo", "token", "token"): (-0.00030806, 0.26256787),
    ("dr_grpo", "token", "sequence"): (-0.02772579, 0.21990961),
    ("dr_grpo", "sequence", "token"): (-0.01993594, 0.34435615),
    ("dr_grpo", "sequence", "sequence"): (-0.03164092, 0.31412179),
    ("dapo", "token", "token"): (-0.00072485, 0.61780676),
    ("dapo", "token", "sequence"): (-0.06523715, 0.51743438),
    ("dapo", "sequence", "token"): (-0.04690810, 0.81024977),
    ("dapo", "sequence", "sequence"): (-0.07444922, 0.73911009),
    ("cispo", "token", "token"): (0.01745945, 0.84122953),
    ("cispo", "token", "sequence"): (0.07210835, 0.76413957),
    ("cispo", "sequence", "token"): (0.04159409, 0.81024977),
    ("cispo", "sequence", "sequence"): (0.06437499, 0.73911009),
    ("sapo", "token", "token"): (-0.03146962, 0.74103279),
    ("sapo", "token", "sequence"): (-0.09274963, 0.68495073),
    ("sapo", "sequence", "token"): (-0.06292375, 0.72338144),
    ("sapo", "sequence", "sequence"): (-0.09210045, 0.67461048),
    ("luspo", "token", "token"): (-0.00308060, 2.62567871),
    ("luspo", "token", "sequence"): (-0.27725791, 2.19909612),
    ("luspo", "sequence", "token"): (-0.19935940, 3.44356153),
    ("luspo", "sequence", "sequence"): (-0.31640918, 3.14121788),
    ("vespo", "token", "token"): (0.22307856, 0.69280901),
}


def golden_inputs() -> dict[str, Tensor]:
    """Four rows of up to six tokens, with log-probabilities from sines."""
    i = torch.arange(4, dtype=torch.float64)[:, None]
    t = torch.arange(6, dtype=torch.float64)[None, :]
    logprobs = -1 + 0.5 * torch.sin(1 + 2 * i + 3 * t)
    return {
        "logprobs": logprobs,
        "old_logprobs": logprobs + 0.35 * torch.cos(i + 5 * t),
        "ref_logprobs": logprobs + 0.3 * torch.sin(3 * i - 2 * t + 1),
        "advantages": torch.tensor([1.2, -0.7, 0.3, -0.8], dtype=torch.float64),
        "mask": lengths_to_mask(torch.tensor([6, 4, 2, 5]), 6),
    }


def run(inputs: dict[str, Tensor], kind: str, level: str, **options: Any) -> LossTerms:
    """The loss with the defaults of these tests."""
    options = {"clip_high": 5.0 if kind == "cispo" else 0.28, "kl_coef": 0.04} | options
    given = {**inputs, **options}
    window = Window(
        num_rows=given.pop("num_rows", given["mask"].shape[0]),
        num_tokens=given.pop("num_tokens", int(given["mask"].sum())),
        max_tokens=given.pop("max_tokens", 10),
    )
    names = {field.name for field in dataclasses.fields(TokenBatch)}
    tokens = TokenBatch(**{name: given.pop(name) for name in names & given.keys()})
    return grpo_loss(tokens, GRPOConfig(loss=kind, level=level, **given), window)  # type: ignore[arg-type]


def gradient(inputs: dict[str, Tensor], kind: str, level: str, **options: Any) -> Tensor:
    """d total / d logprobs, [N, C]."""
    leaf = inputs["logprobs"].detach().clone().requires_grad_()
    total = run({**inputs, "logprobs": leaf}, kind, level, **options).total
    return torch.autograd.grad(total, leaf)[0]


@pytest.mark.parametrize(("kind", "level"), PAIRS)
@pytest.mark.parametrize("kl_coef", [0.0, 0.04])
def test_recorded_numbers(kind: str, level: str, kl_coef: float) -> None:
    # The recording is one of two micro-batches of equal size; its 40 loss tokens were counted over
    # four micro-batches, two windows: 20 a window. The 17 tokens here count twice for bnpo.
    inputs = golden_inputs()
    options = {"num_rows": 8, "num_tokens": 34 if kind == "bnpo" else 20, "kl_coef": kl_coef}
    loss = run(inputs, kind, level, **options).total
    slope = gradient(inputs, kind, level, **options).abs().sum()
    expected = GOLDENS[kind, level][:2] if kl_coef == 0 else GOLDENS[kind, level][2:]
    # eight printed decimals
    assert loss.item() == pytest.approx(expected[0], abs=0.51e-8)
    assert slope.item() == pytest.approx(expected[1], abs=0.51e-8)


def golden_correction(weights_level: str) -> Tensor:
    inputs = golden_inputs()
    i = torch.arange(4, dtype=torch.float64)[:, None]
    sampled = inputs["old_logprobs"] + 0.5 * torch.sin(2 * i + torch.arange(6))
    old, mask = inputs["old_logprobs"], inputs["mask"]
    return sampling_correction(old, sampled, mask, cap=1.3, level=weights_level)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "level", "weights_level"), CORRECTED)
def test_recorded_numbers_of_an_inexact_sampler(kind: str, level: str, weights_level: str) -> None:
    correction = golden_correction(weights_level)
    assert correction.min() < 0.7
    assert (correction == 1.3).any()
    inputs = {**golden_inputs(), "correction": correction}
    loss, slope = CORRECTED[kind, level, weights_level]
    # eight printed decimals
    assert run(inputs, kind, level).total.item() == pytest.approx(loss, abs=0.51e-8)
    assert gradient(inputs, kind, level).abs().sum().item() == pytest.approx(slope, abs=0.51e-8)


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_a_correction_of_one_changes_nothing(kind: str, level: str) -> None:
    inputs = golden_inputs()
    inputs["correction"] = torch.ones(4, 6, dtype=torch.float64).masked_fill(~inputs["mask"], NAN)
    terms, expected = run(inputs, kind, level), run(golden_inputs(), kind, level)
    for field in fields(LossTerms):
        torch.testing.assert_close(getattr(terms, field.name), getattr(expected, field.name))
    torch.testing.assert_close(
        gradient(inputs, kind, level), gradient(golden_inputs(), kind, level)
    )


def test_the_correction_weighs_the_policy_term_and_not_the_kl_term() -> None:
    # one token at ratio 1, A = 2: policy -2, corrected -3; k3 of u = .5 is .1065307 either way
    inputs = {
        "logprobs": torch.full((1, 1), -1.0, dtype=torch.float64),
        "old_logprobs": torch.full((1, 1), -1.0, dtype=torch.float64),
        "ref_logprobs": torch.full((1, 1), -1.5, dtype=torch.float64),
        "advantages": torch.full((1,), 2.0, dtype=torch.float64),
        "mask": torch.ones(1, 1, dtype=torch.bool),
        "correction": torch.full((1, 1), 1.5, dtype=torch.float64),
    }
    terms = run(inputs, "dapo", "token", kl_coef=1.0)
    assert terms.policy.item() == pytest.approx(-3)
    assert terms.total.item() == pytest.approx(-3 + 0.1065307, abs=1e-7)
    assert terms.ratio_mean.item() == 1
    # the clip comes first: a ratio of 2 counts as 1.28
    inputs["old_logprobs"] = inputs["old_logprobs"] - math.log(2)
    assert run(inputs, "dapo", "token").policy.item() == pytest.approx(-1.5 * 1.28 * 2)


def test_the_correction_is_part_of_the_ratio_of_whole_completions() -> None:
    # A = 1: w = e^0 * 2 * .5 * 1.5 = 1.5, phi = w^2 e^(3 - 3w) = 2.25 e^-1.5
    inputs = {
        "logprobs": torch.full((1, 3), -1.0, dtype=torch.float64),
        "old_logprobs": torch.full((1, 3), -1.0, dtype=torch.float64),
        "advantages": torch.ones(1, dtype=torch.float64),
        "mask": torch.ones(1, 3, dtype=torch.bool),
        "correction": torch.tensor([[2.0, 0.5, 1.5]], dtype=torch.float64),
    }
    terms = run(inputs, "vespo", "token", kl_coef=0.0)
    assert terms.policy.item() == pytest.approx(2.25 * math.exp(-1.5))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "vespo"])
def test_a_correction_makes_another_sampler_exact(kind: str) -> None:
    sampler = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    got, exact = bandit(kind, counts=(2, 3, 5))
    assert not torch.allclose(got, exact)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    actions = torch.tensor([0] * 2 + [1] * 3 + [2] * 5)
    got, exact = bandit(kind, counts=(2, 3, 5), correction=(p / sampler)[actions][:, None])
    torch.testing.assert_close(got, exact)


def bandit(
    kind: str, *, counts: tuple[int, ...] = (5, 3, 2), **options: Any
) -> tuple[Tensor, Tensor]:
    """Gradient of the loss, and of -sum_a p_a A_a, for a three-armed bandit pulled 10 times.

    The counts 5, 3, 2 are the policy itself, so the mean over the sample is the expectation; other
    counts are another sampler's.
    """
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    actions = torch.arange(3).repeat_interleave(torch.tensor(counts))
    arm_advantages = torch.tensor([0.4, -1.0, 0.7], dtype=torch.float64)
    leaf = p.log().requires_grad_()
    logprobs = torch.log_softmax(leaf, dim=0)[actions][:, None]  # [10, 1]
    inputs = {
        "logprobs": logprobs,
        "old_logprobs": logprobs.detach(),
        "advantages": arm_advantages[actions],
        "mask": torch.ones(10, 1, dtype=torch.bool),
    }
    total = run(inputs, kind, "token", **{"max_tokens": 1, "kl_coef": 0.0, **options}).total
    # d(-sum p A)/d logit_a = -p_a (A_a - sum p A)
    exact = -p * (arm_advantages - (p * arm_advantages).sum())
    return torch.autograd.grad(total, leaf)[0], exact


@pytest.mark.parametrize("kind", KINDS)
def test_at_ratio_one_every_loss_is_the_exact_policy_gradient(kind: str) -> None:
    got, exact = bandit(kind)
    torch.testing.assert_close(got, exact)


def test_the_kl_term_adds_the_exact_kl_gradient() -> None:
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    actions = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    got, exact = bandit("dapo", kl_coef=0.5, ref_logprobs=q.log()[actions][:, None])
    log_ratio = (p / q).log()
    exact = exact + 0.5 * p * (log_ratio - (p * log_ratio).sum())
    torch.testing.assert_close(got, exact)


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_flipped_advantages_flip_the_gradient_at_ratio_one(kind: str, level: str) -> None:
    inputs = golden_inputs()
    inputs["old_logprobs"] = inputs["logprobs"]
    flipped = {**inputs, "advantages": -inputs["advantages"]}
    forth = gradient(inputs, kind, level, kl_coef=0.0)
    back = gradient(flipped, kind, level, kl_coef=0.0)
    assert (forth[inputs["mask"]] != 0).all()
    torch.testing.assert_close(back, -forth)
    # a positive advantage makes its tokens likelier
    assert ((forth * inputs["advantages"][:, None])[inputs["mask"]] < 0).all()


@pytest.mark.parametrize(("kind", "level"), PAIRS)
@pytest.mark.parametrize("cuts", [[1, 1, 1, 1], [3, 1], [1, 2, 1], [0, 4]])
def test_micro_batches_add_up(kind: str, level: str, cuts: list[int]) -> None:
    inputs = {**golden_inputs(), "entropy": golden_inputs()["ref_logprobs"].exp()}
    window = {"num_rows": 4, "num_tokens": 17}
    whole = run(inputs, kind, level, **window)
    pieces = [
        dict(zip(inputs, values, strict=True))
        for values in zip(*(tensor.split(cuts) for tensor in inputs.values()), strict=True)
    ]
    parts = [run(piece, kind, level, **window) for piece in pieces]
    for field in fields(LossTerms):
        added = sum(getattr(part, field.name) for part in parts)
        torch.testing.assert_close(added, getattr(whole, field.name), atol=1e-12, rtol=1e-12)
    slopes = torch.cat([gradient(piece, kind, level, **window) for piece in pieces])
    expected = gradient(inputs, kind, level, **window)
    torch.testing.assert_close(slopes, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_the_average_over_ranks_is_the_gradient_of_one_rank(kind: str, level: str) -> None:
    # 3 rows on one rank and 1 on the other; each gets the global counts over 2, as DDP averages
    inputs = golden_inputs()
    slopes = [
        gradient(dict(zip(inputs, values, strict=True)), kind, level, num_rows=2, num_tokens=8.5)
        for values in zip(*(tensor.split([3, 1]) for tensor in inputs.values()), strict=True)
    ]
    expected = gradient(inputs, kind, level, num_rows=4, num_tokens=17)
    torch.testing.assert_close(torch.cat(slopes) / 2, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("kind", "level"), PAIRS)
@pytest.mark.parametrize("filler", [0.0, NAN, float("-inf")])
def test_padding_changes_nothing(kind: str, level: str, filler: float) -> None:
    inputs = golden_inputs()
    padded = {
        name: torch.nn.functional.pad(values, (0, 3)).masked_fill(
            ~torch.nn.functional.pad(inputs["mask"], (0, 3)), filler
        )
        for name, values in inputs.items()
        if name.endswith("logprobs")
    }
    padded["mask"] = torch.nn.functional.pad(inputs["mask"], (0, 3))
    padded["advantages"] = inputs["advantages"]
    terms, expected = run(padded, kind, level), run(inputs, kind, level)
    for field in fields(LossTerms):
        torch.testing.assert_close(getattr(terms, field.name), getattr(expected, field.name))
    slope = gradient(padded, kind, level)
    assert (slope[~padded["mask"]] == 0).all()
    torch.testing.assert_close(slope[:, :6], gradient(inputs, kind, level))


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_an_empty_completion_adds_nothing(kind: str, level: str) -> None:
    inputs = golden_inputs()
    window = {"num_rows": 5, "num_tokens": 17}
    extended = {name: torch.cat([values, values[:1]]) for name, values in inputs.items()}
    extended["mask"][4] = False
    extended["logprobs"][4] = NAN
    terms, expected = run(extended, kind, level, **window), run(inputs, kind, level, **window)
    for field in fields(LossTerms):
        torch.testing.assert_close(getattr(terms, field.name), getattr(expected, field.name))
    assert (gradient(extended, kind, level, **window)[4] == 0).all()


@pytest.mark.parametrize(("kind", "level"), PAIRS)
@pytest.mark.parametrize("width", [0, 6])
def test_a_window_without_any_token_has_loss_zero(kind: str, level: str, width: int) -> None:
    inputs = {
        name: values[:, :width] if values.dim() == 2 else values
        for name, values in golden_inputs().items()
    }
    inputs["mask"] = torch.zeros_like(inputs["mask"])
    terms = run(inputs, kind, level, num_tokens=0)
    assert [getattr(terms, field.name).item() for field in fields(LossTerms)] == [0] * 6
    assert (gradient(inputs, kind, level, num_tokens=0) == 0).all()


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_zero_advantages_give_no_policy_gradient_however_wild_the_ratio(
    kind: str, level: str
) -> None:
    inputs = golden_inputs()
    inputs["advantages"] = torch.zeros(4, dtype=torch.float64)
    inputs["old_logprobs"] = inputs["logprobs"] - 800
    assert (gradient(inputs, kind, level, kl_coef=0.0) == 0).all()
    assert run(inputs, kind, level, kl_coef=0.0).policy == 0


def test_a_loss_against_itself_still_has_a_gradient() -> None:
    # fresh samples: old_logprobs may be the very tensor that is differentiated
    inputs = golden_inputs()
    leaf = inputs["logprobs"].clone().requires_grad_()
    total = run({**inputs, "logprobs": leaf, "old_logprobs": leaf}, "dapo", "token").total
    slope = torch.autograd.grad(total, leaf)[0]
    inputs["old_logprobs"] = inputs["logprobs"]
    torch.testing.assert_close(slope, gradient(inputs, "dapo", "token"))


def test_only_logprobs_get_a_gradient() -> None:
    inputs = {
        name: values.requires_grad_() if values.is_floating_point() else values
        for name, values in golden_inputs().items()
    }
    terms = run({**inputs, "entropy": inputs["ref_logprobs"]}, "grpo", "token")
    leaves = [values for values in inputs.values() if values.requires_grad]
    slopes = torch.autograd.grad(terms.total, leaves, allow_unused=True)
    assert [slope is not None for slope in slopes] == [True, False, False, False]
    logged = (terms.kl, terms.clip_fraction, terms.ratio_mean, terms.entropy)
    assert not any(term.requires_grad for term in logged)


def test_logged_terms_by_hand() -> None:
    # ratios 1.5, .5, 1 (good row) and .5, 1 (bad row): two of five tokens are clipped
    ratios = torch.tensor([[1.5, 0.5, 1.0], [0.5, 1.0, NAN]], dtype=torch.float64)
    inputs = {
        "logprobs": ratios.log() - 1,
        "old_logprobs": torch.full((2, 3), -1.0, dtype=torch.float64),
        "ref_logprobs": ratios.log() - 1 - 0.5,
        "entropy": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, NAN]], dtype=torch.float64),
        "advantages": torch.tensor([1.0, -1.0], dtype=torch.float64),
        "mask": ~ratios.isnan(),
    }
    terms = run(inputs, "dapo", "token", kl_coef=0.1)
    assert terms.clip_fraction.item() == pytest.approx(2 / 5)
    assert terms.ratio_mean.item() == pytest.approx(4.5 / 5)
    assert terms.entropy.item() == pytest.approx(15 / 5)
    # e^-.5 - 1 + .5 = .106531 for every token: the ratio weighs the gradient, not the report
    assert terms.kl.item() == pytest.approx(0.106531, abs=1e-6)
    # -(1.28 + .5 + 1) and .8 + 1
    assert terms.policy.item() == pytest.approx((-2.78 + 1.8) / 5)
    # the KL of each token times its ratio
    assert (terms.total - terms.policy).item() == pytest.approx(0.1 * 0.9 * 0.106531, abs=1e-7)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_kl_options_reach_the_loss(estimator: str, weighted: bool) -> None:
    # one token, ratio 2, u = log policy - log reference = .5, advantage 0
    inputs = {
        "logprobs": torch.full((1, 1), -1.0, dtype=torch.float64),
        "old_logprobs": torch.full((1, 1), -1.0, dtype=torch.float64) - math.log(2),
        "ref_logprobs": torch.full((1, 1), -1.5, dtype=torch.float64),
        "advantages": torch.zeros(1, dtype=torch.float64),
        "mask": torch.ones(1, 1, dtype=torch.bool),
    }
    value = {"k1": 0.5, "k2": 0.125, "k3": 0.1065307}[estimator]
    options = {"kl_coef": 1.0, "kl_estimator": estimator, "kl_ratio_weight": weighted}
    terms = run(inputs, "dapo", "token", **options)
    assert terms.kl.item() == pytest.approx(value, abs=1e-7)
    assert terms.total.item() == pytest.approx((2 if weighted else 1) * value, abs=1e-7)


def test_rows_below_the_kl_floor_pay_nothing() -> None:
    """Two rows of u = log policy - log reference: .5 (twice) and .1 (twice), as k2: u^2 / 2.

    KL_1 = 2 * .125 = .25, KL_2 = 2 * .005 = .01. With a floor of .1 the first row alone pays, each
    token d/du u^2/2 = u over the 4 tokens of the window.
    """
    logprobs = torch.full((2, 2), -1.0, dtype=torch.float64, requires_grad=True)
    tokens = {
        "old_logprobs": logprobs.detach(),
        "ref_logprobs": torch.tensor([[-1.5, -1.5], [-1.1, -1.1]], dtype=torch.float64),
        "advantages": torch.zeros(2, dtype=torch.float64),
        "mask": torch.ones(2, 2, dtype=torch.bool),
    }
    options = {"kl_coef": 1.0, "kl_estimator": "k2", "kl_ratio_weight": False}
    for floor, paid in ((0.0, [0.5, 0.1]), (0.1, [0.5, 0.0]), (0.3, [0.0, 0.0])):
        terms = run({"logprobs": logprobs, **tokens}, "dapo", "token", kl_floor=floor, **options)
        (found,) = torch.autograd.grad(terms.total, logprobs, retain_graph=True)
        assert found[:, 0].tolist() == pytest.approx([value / 4 for value in paid])
        assert terms.kl.item() == pytest.approx((0.25 + 0.01) / 4)


def test_what_a_row_lacks_to_the_entropy_floor_is_paid() -> None:
    """Mean entropies of .2 (one token) and .6 (two) against .5: the first lacks .3, the other none.

    As the mean over rows (grpo) with weight 2: 2 * .3 / 2; the gradient at its token is -2 / 2.
    """
    entropy = torch.tensor([[0.2, 9.0], [0.4, 0.8]], dtype=torch.float64, requires_grad=True)
    inputs = {
        "logprobs": torch.full((2, 2), -1.0, dtype=torch.float64),
        "old_logprobs": torch.full((2, 2), -1.0, dtype=torch.float64),
        "advantages": torch.zeros(2, dtype=torch.float64),
        "mask": torch.tensor([[True, False], [True, True]]),
        "entropy": entropy,
    }
    terms = run(inputs, "grpo", "token", kl_coef=0.0, entropy_coef=2.0, entropy_floor=0.5)
    assert terms.total.item() == pytest.approx(0.3)
    (found,) = torch.autograd.grad(terms.total, entropy)
    assert found.tolist() == [[-1.0, 0.0], [0.0, 0.0]]
    free = run(inputs, "grpo", "token", kl_coef=0.0)
    assert free.total.item() == 0
    assert free.entropy.item() == pytest.approx(1.4 / 3)


def test_the_gate_temperatures_reach_the_loss() -> None:
    # ratio 1 gives -(2 / tau) A: -2 / .5 * 1 for the good row, 2 / 4 * 1 for the bad one
    inputs = golden_inputs()
    inputs["old_logprobs"] = inputs["logprobs"]
    inputs["advantages"] = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)
    terms = run(inputs, "sapo", "token", kl_coef=0.0, sapo_temperatures=(0.5, 4.0))
    assert terms.policy.item() == pytest.approx((-4 + 0.5) / 4)


def test_kl_is_reported_without_entering_the_loss() -> None:
    terms = run(golden_inputs(), "dapo", "token", kl_coef=0.0)
    assert terms.kl > 0
    assert terms.total is terms.policy
    without = {name: v for name, v in golden_inputs().items() if name != "ref_logprobs"}
    assert run(without, "dapo", "token", kl_coef=0.0).kl == 0


def test_the_two_sided_clip_reaches_the_loss() -> None:
    inputs = golden_inputs()
    inputs["old_logprobs"] = inputs["logprobs"] - 2  # every ratio is e^2 = 7.389
    free = gradient(inputs, "dapo", "token", kl_coef=0.0)
    held = gradient(inputs, "dapo", "token", kl_coef=0.0, ratio_cap=3.0)
    bad = (inputs["advantages"] < 0)[:, None] & inputs["mask"]
    assert (free[bad] > 0).all()
    assert (held == 0).all()


@pytest.mark.parametrize(("kind", "level"), PAIRS)
def test_half_precision_inputs_are_computed_in_float32(kind: str, level: str) -> None:
    inputs = {
        name: values.bfloat16() if values.is_floating_point() else values
        for name, values in golden_inputs().items()
    }
    exact = {
        name: values.double() if values.is_floating_point() else values
        for name, values in inputs.items()
    }
    total = run(inputs, kind, level).total
    assert total.dtype == torch.float32
    torch.testing.assert_close(total.double(), run(exact, kind, level).total, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("grpo", [[1 / 8, 1 / 8, 0], [0, 0, 0], [1 / 12, 1 / 12, 1 / 12]]),
        ("sapo", [[1 / 8, 1 / 8, 0], [0, 0, 0], [1 / 12, 1 / 12, 1 / 12]]),
        ("bnpo", [[1 / 20, 1 / 20, 0], [0, 0, 0], [1 / 20, 1 / 20, 1 / 20]]),
        ("dapo", [[1 / 20, 1 / 20, 0], [0, 0, 0], [1 / 20, 1 / 20, 1 / 20]]),
        ("cispo", [[1 / 20, 1 / 20, 0], [0, 0, 0], [1 / 20, 1 / 20, 1 / 20]]),
        ("vespo", [[1 / 20, 1 / 20, 0], [0, 0, 0], [1 / 20, 1 / 20, 1 / 20]]),
        ("dr_grpo", [[1 / 40, 1 / 40, 0], [0, 0, 0], [1 / 40, 1 / 40, 1 / 40]]),
        ("luspo", [[1 / 4, 1 / 4, 0], [0, 0, 0], [1 / 4, 1 / 4, 1 / 4]]),
    ],
)
def test_loss_weights_by_hand(kind: str, expected: list[list[float]]) -> None:
    # lengths 2, 0, 3 in a window of 4 rows and 20 tokens, 10 tokens at most
    mask = lengths_to_mask(torch.tensor([2, 0, 3]), 3)
    weights = LOSSES[kind].weigh(mask.float(), Window(num_rows=4, num_tokens=20, max_tokens=10))
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_the_table_has_every_loss() -> None:
    assert set(LOSSES) == set(get_args(LossKind))


def test_wrong_arguments_are_named() -> None:
    inputs = golden_inputs()
    for name in ("logprobs", "old_logprobs", "ref_logprobs"):
        with pytest.raises(ShapeError, match=f"grpo_loss: {name} has shape"):
            run({**inputs, name: inputs[name][:, :5]}, "dapo", "token")
    with pytest.raises(ShapeError, match="advantages has shape"):
        run({**inputs, "advantages": inputs["advantages"][:, None]}, "dapo", "token")
    with pytest.raises(ShapeError, match="correction has shape"):
        run({**inputs, "correction": inputs["logprobs"][:, :1]}, "dapo", "token")
    with pytest.raises(ShapeError, match="mask has dtype"):
        run({**inputs, "mask": inputs["mask"].long()}, "dapo", "token")
    without = {name: v for name, v in inputs.items() if name != "ref_logprobs"}
    with pytest.raises(ValueError, match=r"kl_coef is 0\.04 but there are no ref_logprobs"):
        run(without, "dapo", "token")
    with pytest.raises(ValueError, match="unknown loss 'ppo'"):
        run(inputs, "ppo", "token")
    for count in (-1, NAN):
        with pytest.raises(ValueError, match="num_tokens is"):
            run(inputs, "dapo", "token", num_tokens=count)
