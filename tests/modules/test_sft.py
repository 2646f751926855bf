"""Imitating demonstrations: what is in the loss, and its normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch

from rl4bio.errors import DataError
from rl4bio.modules.policy import Policy
from rl4bio.modules.sft import SFTLightningModule, demonstration_loss, encode_demonstrations
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.types import PromptBatch, Sample

FAMILIES = ("gemma3", "gpt2")


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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_loss_is_that_of_transformers(
    make_policy: Callable[..., Policy], four_samples: list[Sample], family: str, weight: float
) -> None:
    """Its own cross-entropy over labels, -100 where there is no loss: a mean over tokens."""
    policy = make_policy(family)
    rows = encode_demonstrations(policy, four_samples, SFTConfig(prompt_loss_weight=weight))
    labels = rows.ids.clone()
    for n, sample in enumerate(four_samples):
        prompt = policy.encode_prompt(sample.prompt)
        length = len(prompt) + len(policy.encode_completion(sample.demonstration))
        assert rows.mask[n].sum() == length
        labels[n, length:] = -100
        if not weight:
            labels[n, : len(prompt)] = -100
    with torch.no_grad():
        theirs = policy.model(input_ids=rows.ids, attention_mask=rows.mask.long(), labels=labels)
        ours = demonstration_loss(policy.model, rows) / rows.weights.sum()
    assert ours.item() == pytest.approx(theirs.loss.item(), abs=1e-6)


def test_weights_of_prompt_completion_and_end(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    """The first token is never predicted; the turn's end is."""
    policy = make_policy()
    rows = encode_demonstrations(policy, four_samples[:2], SFTConfig(prompt_loss_weight=0.25))
    for n, sample in enumerate(four_samples[:2]):
        prompt = len(policy.encode_prompt(sample.prompt))
        completion = len(policy.encode_completion(sample.demonstration))
        wanted = [0.0] + [0.25] * (prompt - 1) + [1.0] * completion
        kept = rows.mask[n]
        assert rows.weights[n][kept].tolist() == wanted
        assert rows.weights[n][~kept].eq(0).all()
        assert rows.ids[n][kept][-1] == policy.end_id
    assert policy.tokenizer.convert_ids_to_tokens(policy.end_id) == "<end_of_turn>"


def test_end_is_learned_even_where_it_is_the_padding(
    make_policy: Callable[..., Policy], four_samples: list[Sample]
) -> None:
    policy = make_policy()
    policy.tokenizer.pad_token, policy.tokenizer.chat_template = "<eos>", None
    policy = Policy(model=policy.model, tokenizer=policy.tokenizer, checkpoint="x")
    assert policy.end_id == policy.pad_id
    rows = encode_demonstrations(policy, four_samples, SFTConfig())
    is_end = rows.ids == policy.end_id
    assert (is_end.sum(-1) > 1).any()  # ends and padding look alike
    assert (is_end & (rows.weights > 0)).sum(-1).tolist() == [1, 1, 1, 1]


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
        pieces = len(module._split(module._encode(batch)))
        assert pieces == (1 if limit == 100_000 else 4 if limit == 1 else 2)
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


def test_long_rows_are_left_out(
    make_sft: Callable[..., SFTLightningModule],
    fit: Callable[..., L.Trainer],
    four_samples: list[Sample],
) -> None:
    module = make_sft()
    policy = module.policy
    lengths = [
        len(policy.encode_prompt(s.prompt)) + len(policy.encode_completion(s.demonstration))
        for s in four_samples
    ]
    limit = sorted(lengths)[2]
    rows = encode_demonstrations(policy, four_samples, SFTConfig(max_tokens=limit))
    assert sorted(rows.mask.sum(-1).tolist()) == sorted(lengths)[:3]
    module.sft.max_tokens = limit
    trainer = fit(module, batch_size=4)
    assert trainer.callback_metrics["train/left_out_fraction"] == 0.25
    with pytest.raises(DataError, match=r"none of 4 samples.*sft\.max_tokens=3"):
        encode_demonstrations(policy, four_samples, SFTConfig(max_tokens=3))


def test_a_sample_without_demonstration(make_policy: Callable[..., Policy]) -> None:
    sample = Sample(uid="s9", prompt="yes")
    with pytest.raises(DataError, match="sample s9: no demonstration"):
        encode_demonstrations(make_policy(), [sample], SFTConfig())
