"""Pairs of prompt and demonstration beyond `sft.max_tokens`: left out first, else skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.errors import DataError
from rl4bio.modules.demonstrations import (
    Demonstrations,
    encode_demonstrations,
    fit_demonstrations,
)
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.types import PromptBatch, Sample


@pytest.fixture
def make_sft(make_policy: Callable[..., Policy]) -> Callable[..., SFTLightningModule]:
    """An SFT module on a tiny policy."""

    def make(*, lr: float = 1e-3) -> SFTLightningModule:
        optim = OptimConfig(lr=lr, max_grad_norm=None)
        return SFTLightningModule(make_policy(), sft=SFTConfig(), optim=optim, max_steps=10)

    return make


@pytest.fixture
def long_and_short(four_samples: list[Sample]) -> list[Sample]:
    long = [replace(s, uid=f"long-{s.uid}", demonstration="yes " * 40) for s in four_samples]
    return [sample for pair in zip(four_samples, long, strict=True) for sample in pair]


def test_are_left_out_before_the_first_step(
    make_sft: Callable[..., SFTLightningModule],
    long_and_short: list[Sample],
    four_samples: list[Sample],
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = make_sft()
    kept = fit_demonstrations(module.policy, long_and_short, SFTConfig(max_tokens=60))
    assert kept == four_samples
    assert "4 of 8 prompt + demonstration pairs are longer than 60 tokens" in caplog.text
    assert fit_demonstrations(module.policy, long_and_short, SFTConfig()) == long_and_short
    with pytest.raises(DataError, match=r"none of 8 samples fits sft\.max_tokens=2"):
        fit_demonstrations(module.policy, long_and_short, SFTConfig(max_tokens=2))


def test_the_limit_is_that_of_the_encoder(
    make_policy: Callable[..., Policy], long_and_short: list[Sample]
) -> None:
    """Whatever the limit, what is kept is what `encode_demonstrations` keeps."""
    policy = make_policy()
    for limit in range(5, 60, 3):
        config = SFTConfig(max_tokens=limit)
        try:
            numbers = encode_demonstrations(policy, long_and_short, config).numbers
        except DataError:
            continue
        kept = fit_demonstrations(policy, long_and_short, config)
        assert kept == [long_and_short[n] for n in numbers]


def test_a_batch_of_nothing_is_skipped_with_a_count(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    long_and_short: list[Sample],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Unfiltered, one pair a step: weights move at the steps of short pairs alone."""
    module = make_sft(lr=0.01)
    module.sft.max_tokens = 60
    moved: list[tuple[float, bool]] = []
    before = [p.detach().clone() for p in module.policy.trainable_parameters()]
    encode = module._encode

    def watch(batch: PromptBatch) -> Demonstrations:
        rows = encode(batch)
        assert rows.counts == (not batch.samples[0].uid.startswith("long"))
        moved.append((rows.mask.sum().item(), rows.counts))
        return rows

    module._encode = watch  # type: ignore[method-assign]
    trainer = fit(module, samples=long_and_short, steps=4, batch_size=1)
    skipped = sum(not counts for _, counts in moved)
    assert skipped >= 1
    assert trainer.global_step == 4
    assert module.iteration == module.draws == 4 + skipped
    assert caplog.text.count("the batch is skipped") == skipped
    after = module.policy.trainable_parameters()
    assert all(torch.isfinite(p).all() for p in after)
    assert any(not torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_a_stand_in_counts_nothing_beside_a_rank_that_has_pairs(
    make_sft: Callable[..., SFTLightningModule],
    four_samples: list[Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loss, its tokens and its gradient are 0, and there is a gradient to share."""
    module = make_sft(lr=0.01)
    module.sft.max_tokens = 3
    seen: dict[str, Any] = {}

    def step(pieces: list[Demonstrations], loss_of: Callable[..., torch.Tensor]) -> None:
        loss = sum(loss_of(piece) for piece in pieces)
        loss.backward()
        seen["loss"] = float(loss.detach())

    monkeypatch.setattr(module, "optimizer_step_over", step)
    monkeypatch.setattr(module, "global_sum", lambda value: value + 12)
    monkeypatch.setattr(type(module), "world_size", 2)
    monkeypatch.setattr(module, "log_means", lambda sums, **_: seen.update(sums))
    for name in ("log", "log_optimizer"):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    module.training_step(PromptBatch(samples=four_samples[:1], indices=[0]), 0)
    assert seen["loss"] == 0
    assert seen["train/loss"] == (0, 0)
    assert seen["train/left_out_fraction"] == (1, 1)
    grads = [p.grad for p in module.policy.trainable_parameters() if p.grad is not None]
    assert grads
    assert all(grad.eq(0).all() for grad in grads)


def test_an_end_without_any_pair_is_an_error(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft()
    module.sft.max_tokens = 3
    with pytest.raises(DataError, match="100 batches one after the other hold no pair"):
        fit(module, samples=four_samples, steps=2, batch_size=1)


def test_validation_leaves_them_out(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    long_and_short: list[Sample],
    four_samples: list[Sample],
) -> None:
    losses = []
    options = {"val_check_interval": 1, "check_val_every_n_epoch": None, "max_epochs": -1}
    for samples in (long_and_short, four_samples):
        module = make_sft(lr=1e-12)
        module.sft.max_tokens = 60
        trainer = fit(module, samples=samples, batch_size=1, **options)
        losses.append(trainer.callback_metrics["val/loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
