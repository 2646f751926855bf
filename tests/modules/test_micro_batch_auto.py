"""`tokens_per_micro_batch: auto`: smaller micro-batches where memory runs out, the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.modules.base import PolicyModule
from rl4bio.modules.loading import load_policy
from rl4bio.modules.sft import SFTLightningModule
from rl4bio.sections import OptimConfig, PolicyConfig, SFTConfig
from tests.modules.test_bad_numbers import make_grpo, steps  # noqa: F401


def small_memory(module: PolicyModule, tokens: int) -> list[int]:
    """Lets forwards of more tokens ask the allocator for more than there is; keeps what was asked.

    Sampling has its own tokens and is left alone.
    """
    asked: list[int] = []

    def before(_: Any, arguments: Any) -> None:
        if not torch.is_grad_enabled():
            return
        asked.append(arguments[0].shape[:-1].numel())
        if asked[-1] > tokens:
            torch.empty(1 << 55, dtype=torch.uint8)

    named = dict(module.model.named_modules())
    layer = next(part for name, part in named.items() if name.endswith("layers.1.mlp"))
    layer.register_forward_pre_hook(before)
    return asked


def weights(module: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.trainable_state().items()}


@pytest.mark.parametrize("updates", [1, 2])
def test_it_halves_and_goes_on(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
    package_log: pytest.LogCaptureFixture,
    updates: int,
) -> None:
    options: dict[str, Any] = {"updates_per_rollout": updates, "kl_coef": 0.1}
    whole = make_grpo(tiny_policy_folder, tokens_per_micro_batch="auto", **options)
    wanted = steps(whole, 2)
    assert whole.halvings == 0
    module = make_grpo(tiny_policy_folder, tokens_per_micro_batch="auto", **options)
    asked = small_memory(module, 60)
    found = steps(module, 2)
    assert asked[0] > 60
    assert max(asked[-2:]) <= 60
    assert f"micro-batches have {module.micro_batch_tokens} tokens from here on" in package_log.text
    for one, other in zip(wanted, found, strict=True):
        for name, value in one.items():
            if not name.startswith("time/"):
                assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    theirs = weights(whole)
    for name, weight in weights(module).items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-4, msg=name)


def make_sft(folder: Path, tokens: Any) -> SFTLightningModule:
    return SFTLightningModule(
        load_policy(PolicyConfig(checkpoint=str(folder))),
        sft=SFTConfig(tokens_per_micro_batch=tokens),
        optim=OptimConfig(lr=1e-3),
        max_steps=4,
    )


def test_demonstrations_halve_too(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
    package_log: pytest.LogCaptureFixture,
) -> None:
    whole = make_sft(tiny_policy_folder, "auto")
    wanted = steps(whole, 2)
    module = make_sft(tiny_policy_folder, "auto")
    asked = small_memory(module, 30)
    found = steps(module, 2)
    assert asked[0] > 30 >= max(asked[-2:])
    assert "the memory ran out in step 1: micro-batches have" in package_log.text
    for one, other in zip(wanted, found, strict=True):
        assert other["train/loss"] == pytest.approx(one["train/loss"], rel=1e-4)
    theirs = weights(whole)
    for name, weight in weights(module).items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-4, msg=name)


def test_demonstrations_name_their_phase(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
) -> None:
    module = make_sft(tiny_policy_folder, 8192)
    small_memory(module, 10)
    with pytest.raises(RuntimeError, match="can't allocate") as error:
        steps(module, 1)
    assert error.value.__notes__[0].startswith("in the imitation of step 1; lower sft.tokens_per")


def test_a_step_of_the_optimiser_is_not_begun_again(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some weights may have moved already."""
    module = make_grpo(tiny_policy_folder, tokens_per_micro_batch="auto")
    monkeypatch.setattr(torch.optim.AdamW, "_init_group", lambda *_: torch.empty(1 << 55))
    with pytest.raises(RuntimeError, match="can't allocate"):
        steps(module, 1)
    assert module.halvings == 0


def test_a_number_is_kept_and_the_phase_is_named(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
) -> None:
    module = make_grpo(tiny_policy_folder)
    small_memory(module, 10)
    with pytest.raises(RuntimeError, match="can't allocate") as error:
        steps(module, 1)
    assert error.value.__notes__[0].startswith("in the update of step 1; lower grpo.tokens_per_mic")
    assert module.halvings == 0


def test_rows_that_are_too_long_alone_end_it(
    tiny_policy_folder: Path,
    steps: Callable[..., Any],  # noqa: F811
) -> None:
    module = make_grpo(tiny_policy_folder, tokens_per_micro_batch="auto")
    small_memory(module, 1)
    with pytest.raises(RuntimeError, match="can't allocate"):
        steps(module, 1)


def test_the_configuration_takes_it(tmp_path: Path) -> None:
    from rl4bio.config.load import load_config
    from rl4bio.errors import ConfigError

    for given, wanted in (("auto", 32768), ("77", 77)):
        config = load_config(
            "rl4bio:pubmedqa_nano", [f"grpo.tokens_per_micro_batch={given}", "trainer.devices=1"]
        )
        assert config.grpo.micro_batch_tokens == wanted
    for wrong in ("0", "-3", "large", "1.5"):
        with pytest.raises(ConfigError, match=r"grpo\.tokens_per_micro_batch"):
            load_config("rl4bio:pubmedqa_nano", [f"grpo.tokens_per_micro_batch={wrong}"])
        with pytest.raises(ConfigError, match=r"sft\.tokens_per_micro_batch"):
            load_config("rl4bio:pubmedqa_nano", [f"sft.tokens_per_micro_batch={wrong}"])
    config = load_config("rl4bio:pubmedqa_nano", ["sft.tokens_per_micro_batch=auto"])
    assert config.sft.micro_batch_tokens == 32768
