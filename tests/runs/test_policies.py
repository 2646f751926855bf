"""rl4bio.runs.policies: a policy on its device in the run's precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rl4bio.errors import ConfigError
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.modules.saving import write_policy
from rl4bio.runs.policies import find_device, opened_policy
from rl4bio.sections import AdapterConfig, PolicyConfig, RunConfig, TrainerConfig


def run_config(folder: Path, **trainer: str) -> RunConfig:
    """A run with an adapter: its base is the plain checkpoint."""
    policy = PolicyConfig(checkpoint=str(folder), adapter=AdapterConfig(rank=2))
    section = TrainerConfig(accelerator="cpu", **trainer)  # type: ignore[arg-type]
    return RunConfig(name="run", policy=policy, trainer=section)


def test_the_base_is_the_plain_checkpoint_in_float32(tiny_policy_folder: Path) -> None:
    with opened_policy(run_config(tiny_policy_folder)) as policy:
        assert policy.adapter is None
        assert not torch.is_autocast_enabled("cpu")
        assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
        assert not [name for name, _ in policy.model.named_parameters() if "lora" in name]


@pytest.mark.parametrize(("precision", "mixed"), [("bf16-true", False), ("bf16-mixed", True)])
def test_frozen_weights_are_half_and_mixed_precision_ends_with_the_block(
    precision: str, mixed: bool, tiny_policy_folder: Path
) -> None:
    with opened_policy(run_config(tiny_policy_folder, precision=precision)) as policy:
        assert {p.dtype for p in policy.model.parameters()} == {torch.bfloat16}
        assert torch.is_autocast_enabled("cpu") == mixed
    assert not torch.is_autocast_enabled("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"trainer\.accelerator: gpu is not available here"):
        find_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == find_device("gpu") == torch.device("cuda")


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_the_base_of_a_quantised_run_is_held_as_it_was_trained(
    tiny_folder: Callable[[str], Path], tmp_path: Path, bits: str
) -> None:
    """Alone and under the tuned adapter it is one model, and not the one of full weights."""
    config = run_config(tiny_folder("llama"), precision="32-true")
    ids = torch.arange(10, 30)[None]

    @torch.no_grad()
    def logits(policy: Policy) -> torch.Tensor:
        return policy.model.eval()(input_ids=ids).logits.float()

    with opened_policy(config) as policy:
        full = logits(policy)
        write_policy(load_policy(config.policy), tmp_path / "adapter")
    config.policy.quantization = bits  # type: ignore[assignment]
    with opened_policy(config) as policy:
        base = logits(policy)
    with opened_policy(config, tmp_path / "adapter") as policy:
        tuned = logits(policy)  # a new adapter changes nothing
    assert torch.equal(base, tuned)
    assert (base - full).abs().max() > 1e-3
