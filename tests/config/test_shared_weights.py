"""What a run whose processes share the weights out (trainer.strategy: fsdp) is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.config.load import load_config
from rl4bio.errors import ConfigError

CONFIG = """\
name: shared
policy: {checkpoint: some/model, adapter: {rank: 8}}
data: {name: trials}
rewards: [{name: verdict}]
"""
REFUSED = {
    "policy.quantization=nf4": "quantised weights (nf4) cannot be shared out",
    "policy.quantization=int8": "quantised weights (int8) cannot be shared out",
    "optim.name=muon": "muon does not know weights of which a process has a share",
    "optim.name=adamw8bit": "adamw8bit does not know weights of which a process has a share",
    "rollout.backend=generate": "generate does not gather shared weights",
    "rollout.backend=vllm": "vllm does not gather shared weights",
    "rollout.dtype=bf16": "bf16 is a copy of whole weights",
    "trainer.precision=16-mixed": "gradients are not scaled (16-mixed)",
    "stages=[{name: one, task: sft}, {name: two}]": "start each stage as a run of its own",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("override", REFUSED)
def test_what_knows_whole_weights_alone_is_refused(config: Path, override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config, ["trainer.strategy=fsdp", override])
    message = str(caught.value)
    assert "\n" not in message
    assert f"{override.split('=')[0]}: with trainer.strategy=fsdp, " in message
    assert REFUSED[override] in message
    load_config(config, [override])


def test_the_rest_is_not(config: Path) -> None:
    more = ["trainer.precision=bf16-mixed", "policy.gradient_checkpointing=true", "task=sft"]
    assert load_config(config, ["trainer.strategy=fsdp", *more]).trainer.strategy == "fsdp"


@pytest.mark.parametrize("other", ["deepspeed", "fsdp2", "model_parallel"])
def test_names_of_other_programs_lead_to_it(config: Path, other: str) -> None:
    with pytest.raises(ConfigError, match="fsdp"):
        load_config(config, [f"trainer.strategy={other}"])
