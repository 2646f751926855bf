"""The precision callback against a real Trainer on this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.precision import PrecisionByCapability, family_of
from rl4bio.errors import ConfigError


def test_says_what_the_trainer_has(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    callback = PrecisionByCapability()
    run_steps([callback], steps=1)
    assert callback.choice is not None
    assert callback.choice.value == "32-true"
    assert "precision 32-true: no CUDA device" in capsys.readouterr().out


def test_replaces_the_default(run_steps: Callable[..., pl.Trainer], step_module: type) -> None:
    module = step_module([[1.0] * 4], [None])
    trainer = run_steps([PrecisionByCapability(precision="bf16-mixed")], steps=2, module=module)
    assert trainer.precision == "bf16-mixed"
    assert module.autocast == [True, True]


def test_auto_on_a_cpu(run_steps: Callable[..., pl.Trainer], step_module: type) -> None:
    module = step_module([[1.0] * 4], [None])
    trainer = run_steps([PrecisionByCapability(precision="auto")], steps=1, module=module)
    assert trainer.precision == "32-true"
    assert module.autocast == [False]


def test_refuses_an_unsafe_trainer(run_steps: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(ConfigError, match="16-true trains float16 weights"):
        run_steps([PrecisionByCapability()], precision="16-true")


def test_two_explicit_requests(run_steps: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(ConfigError, match="the Trainer was built with precision='bf16-mixed'"):
        run_steps([PrecisionByCapability(precision="32-true")], precision="bf16-mixed")


def test_family_from_the_module() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    module = torch.nn.Module()
    assert family_of(module) == ""
    config = GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=8, n_positions=8)
    module.model = GPT2LMHeadModel(config)
    assert family_of(module) == "gpt2"
    holder = torch.nn.Module()
    holder.policy = module
    assert family_of(holder) == "gpt2"


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="precision: got 'fp16'"):
        PrecisionByCapability(precision="fp16")
