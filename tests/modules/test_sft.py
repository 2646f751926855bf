"""Imitating demonstrations: the loss, its normalisation, and when rows are packed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.modules.demonstrations import demonstration_logprobs, encode_demonstrations
from rl4bio.modules.dropout import dropout_is_active, switch_off_dropout
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import (
    SFTLightningModule,
    demonstration_loss,
    imitation_loss,
)
from rl4bio.sections import AdapterConfig, OptimConfig, SFTConfig
from rl4bio.types import PromptBatch, Sample


@pytest.fixture
def make_sft(make_policy: Callable[..., Policy]) -> Callable[..., SFTLightningModule]:
    """An SFT module on a tiny policy; options are those of SFTConfig."""

    def make(policy: Policy | None = None, *, lr: float = 1e-3, **options: Any) -> Any:
        return SFTLightningModule(
            policy or make_policy(),
            sft=SFTConfig(**options),
            optim=OptimConfig(lr=lr, max_grad_norm=None),
            max_steps=10,
        )

    return make


@pytest.mark.parametrize("tokens", [1, 70])
def test_micro_batches_do_not_change_the_gradient(
    make_sft: Callable[..., SFTLightningModule],
    inside: Callable[..., Any],
    four_samples: list[Sample],
    tokens: int,
) -> None:
    found = []
    for limit in (tokens, 100_000):
        module = make_sft(tokens_per_micro_batch=limit, lr=1e-12)
        batch = PromptBatch(samples=four_samples)
        pieces = module._encode(batch).micro_batches(limit, packed=True)
        assert len(pieces) == (1 if limit == 100_000 else 4 if limit == 1 else 2)
        step = module.training_step

        def work(module: SFTLightningModule, step: Any = step, batch: Any = batch) -> Any:
            step(batch, 0)
            return {n: p.grad.clone() for n, p in module.model.named_parameters()}  # type: ignore

        found.append(inside(module, work))
    assert max(float(grad.abs().max()) for grad in found[1].values()) > 1e-2
    for name, grad in found[0].items():
        torch.testing.assert_close(grad, found[1][name], rtol=1e-4, atol=1e-6)


def test_demonstrations_are_learned(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft(lr=0.01)
    rows = encode_demonstrations(module.policy, four_samples, module.sft)

    def mean_loss() -> float:
        with torch.no_grad():
            return (demonstration_loss(module.model, rows) / rows.weights.sum()).item()

    before = mean_loss()
    trainer = fit(module, steps=20, batch_size=4)
    assert mean_loss() < 0.5 * before
    assert (module.iteration, module.draws) == (20, 80)
    assert {"train/loss", "train/grad_norm", "train/lr", "step"} <= set(trainer.callback_metrics)
    assert trainer.callback_metrics["step"] == 20


def test_validation_loss_is_a_mean_over_tokens(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft(lr=1e-12)
    options = {"val_check_interval": 1, "check_val_every_n_epoch": None, "max_epochs": -1}
    trainer = fit(module, batch_size=3, **options)
    rows = encode_demonstrations(module.policy, four_samples, module.sft)
    with torch.no_grad():
        wanted = demonstration_loss(module.model, rows) / rows.weights.sum()
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_left_out_rows_are_counted(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft()
    lengths = encode_demonstrations(module.policy, four_samples, module.sft).mask.sum(-1)
    module.sft.max_tokens = sorted(lengths.tolist())[2]
    trainer = fit(module, batch_size=4)
    assert trainer.callback_metrics["train/left_out_fraction"] == 0.25


def test_dft_weighs_each_token_by_its_probability() -> None:
    """p = 1/2 and 1/8 with weights 1 and 3, in powers of two: L = ln 2.

    nll: 1 L + 3 * 3 L = 10 L. dft: 1/2 * L + 3 * 1/8 * 3 L = 13/8 L.
    """
    logprobs = torch.tensor([0.5, 0.125]).log().requires_grad_()
    weights = torch.tensor([1.0, 3.0])
    nll = imitation_loss(logprobs, weights)
    assert nll.item() == pytest.approx(10 * math.log(2))
    assert torch.autograd.grad(nll, logprobs)[0].tolist() == [-1.0, -3.0]
    dft = imitation_loss(logprobs, weights, "dft")
    assert dft.item() == pytest.approx(13 / 8 * math.log(2))
    # The probability is held fixed: d/dlogp is -w p, not -w p (1 + log p).
    assert torch.autograd.grad(dft, logprobs)[0].tolist() == pytest.approx([-0.5, -0.375])


def test_gradient_of_dft_is_that_of_the_probabilities(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    """d/dx sg(p) log p = dp/dx, the policy gradient of an exact match."""
    policy = make_policy("llama")
    rows = encode_demonstrations(policy, four_samples, SFTConfig())
    grads = []
    for loss in (
        demonstration_loss(policy.model, rows, kind="dft"),
        -demonstration_logprobs(policy.model, rows).exp().sum(),
    ):
        found = torch.autograd.grad(loss, policy.trainable_parameters(), allow_unused=True)
        grads.append(torch.cat([g.flatten() for g in found if g is not None]))
    assert grads[0].norm() > 1e-4
    torch.testing.assert_close(*grads)


def test_validation_is_nll_without_noise(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft(lr=1e-12, loss="dft", neftune_alpha=5.0)
    options = {"val_check_interval": 1, "check_val_every_n_epoch": None, "max_epochs": -1}
    trainer = fit(module, batch_size=4, **options)
    rows = encode_demonstrations(module.policy, four_samples, module.sft)
    with torch.no_grad():
        wanted = demonstration_loss(module.model, rows) / rows.weights.sum()
    found = trainer.callback_metrics
    assert found["val/loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert found["train/loss"].item() < 0.5 * wanted.item()  # p * nll is at most 1/e


@pytest.mark.parametrize("tokens", [1, 100_000])
def test_noise_belongs_to_seed_and_draw(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    tokens: int,
) -> None:
    """Neither pieces nor padding change it; another seed, or none, gives another loss."""
    losses = {}
    for name, seed, alpha, backend in (
        ("first", 1, 5.0, "engine"),
        ("again", 1, 5.0, "generate"),
        ("other", 2, 5.0, "engine"),
        ("none", 1, 0.0, "engine"),
    ):
        module = make_sft(neftune_alpha=alpha, tokens_per_micro_batch=tokens)
        module.seed, module.policy.backend = seed, backend
        trainer = fit(module, batch_size=4, steps=2)
        losses[name] = trainer.callback_metrics["train/loss"].item()
    assert losses["again"] == pytest.approx(losses["first"], rel=1e-5)
    assert abs(losses["other"] - losses["first"]) > 1e-3
    assert abs(losses["none"] - losses["first"]) > 1e-3


def test_every_step_has_noise_of_its_own(
    make_sft: Callable[..., SFTLightningModule], fit: Callable[..., L.Trainer]
) -> None:
    """The same four samples twice by an all but fixed model: the loss differs by the noise."""
    losses: dict[float, list[float]] = {}
    for alpha in (0.0, 5.0):
        for steps in (1, 2):
            module = make_sft(neftune_alpha=alpha, lr=1e-12)
            trainer = fit(module, batch_size=4, steps=steps)
            losses.setdefault(alpha, []).append(trainer.callback_metrics["train/loss"].item())
    assert losses[0.0][0] == pytest.approx(losses[0.0][1], rel=1e-5)
    assert abs(losses[5.0][0] - losses[5.0][1]) > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_active_dropout_means_padded_rows(
    make_policy: Callable[..., Policy],
    four_samples: list[Sample],
    family: str,
) -> None:
    """GPT-2 has dropout of its own, Gemma's adapter one of rank 4; evaluation drops nothing."""
    options: dict[str, Any] = {}
    if family == "gemma3":
        options["adapter"] = AdapterConfig(rank=4, alpha=8, dropout=0.1)
    policy = make_policy(family, **options)
    module = SFTLightningModule(policy, sft=SFTConfig(), optim=OptimConfig(), max_steps=1)
    policy.backend = "engine"
    rows = encode_demonstrations(policy, four_samples, SFTConfig())
    policy.model.train()
    assert not module.packs(rows)
    policy.model.eval()
    assert module.packs(rows)
    policy.model.train()
    switch_off_dropout(policy.model)
    assert module.packs(rows)
    rows.conditions = {"properties": torch.zeros(4, 1)}
    assert not module.packs(rows)


def test_dropout_that_is_only_a_number_is_seen() -> None:
    """Attention layers keep theirs as a float, which no nn.Dropout shows."""
    layer = torch.nn.Linear(2, 2)
    assert not dropout_is_active(layer)
    layer.attention_dropout = 0.1  # type: ignore[assignment]
    assert dropout_is_active(layer)
    assert not dropout_is_active(layer.eval())
