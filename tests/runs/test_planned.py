"""Memory plans from a configuration alone: the shapes are those of the policy that a run loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio import doctor
from rl4bio.errors import ConfigError, ModelError
from rl4bio.hardware import CARDS, Card
from rl4bio.modules.loading import load_policy
from rl4bio.runs import planned
from rl4bio.runs.activations import tensor_bytes
from rl4bio.runs.memory import estimate_memory
from rl4bio.runs.planned import plan_without_weights, planned_policy
from rl4bio.sections import AdapterConfig, PolicyConfig, RunConfig

LORA = {"adapter": AdapterConfig(rank=2)}


@pytest.mark.parametrize("family", ["gemma3", "gemma2", "llama", "gpt2"])
@pytest.mark.parametrize("options", [{}, LORA, LORA | {"gradient_checkpointing": True}])
def test_the_estimate_is_that_of_the_loaded_policy(
    family: str, options: dict[str, Any], tiny_folder: Callable[[str], Path]
) -> None:
    section = PolicyConfig(checkpoint=str(tiny_folder(family)), **options)
    config = RunConfig(name="x", policy=section)
    plan = planned_policy(config)
    assert {p.device.type for p in plan.model.parameters()} == {"meta"}
    for card in (CARDS["t4"], CARDS["a100-40"]):
        found = estimate_memory(plan, config, card=card)
        assert found == estimate_memory(load_policy(section), config, card=card)


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_quantised_weights_are_as_large_as_planned(bits: str, tiny_policy_folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    section = PolicyConfig(checkpoint=str(tiny_policy_folder), quantization=bits, **LORA)  # type: ignore[arg-type]
    plan = tensor_bytes(planned_policy(RunConfig(name="x", policy=section)).model.parameters())
    real = tensor_bytes(load_policy(section, dtype=torch.float32).model.parameters())
    whole = tensor_bytes(
        load_policy(PolicyConfig(checkpoint=section.checkpoint)).model.parameters()
    )
    assert plan == pytest.approx(real, rel=0.02)  # the factors are not among the parameters
    assert plan < whole


def test_an_adapter_to_start_from(tiny_policy_folder: Path, tmp_path: Path) -> None:
    first = load_policy(PolicyConfig(checkpoint=str(tiny_policy_folder), **LORA))  # type: ignore[arg-type]
    first.model.save_pretrained(tmp_path)  # type: ignore[operator]
    section = PolicyConfig(
        checkpoint=str(tiny_policy_folder), adapter=AdapterConfig(path=str(tmp_path))
    )
    plan = planned_policy(RunConfig(name="x", policy=section))
    count = sum(p.numel() for p in plan.model.parameters())
    assert count == sum(p.numel() for p in first.model.parameters())
    section.adapter = AdapterConfig(path=str(tmp_path / "none"))
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        planned_policy(RunConfig(name="x", policy=section))


@pytest.fixture
def file(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    found = tmp_path / "config.yaml"
    found.write_text(
        f"name: planned\npolicy: {{checkpoint: {tiny_policy_folder}, adapter: {{rank: 2}}}}\n"
        "data: {name: trials}\nrewards: [{name: structure}]\n"
    )
    return found


def test_doctor_says_what_a_run_takes_of_a_card(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"torch": "torch"})
    monkeypatch.setattr(planned, "lowest_capability", lambda: None)
    where = ["--output-dir", str(tmp_path)]
    assert doctor.main([str(file), "--card", "t4", *where]) == 0
    said = capsys.readouterr().out
    assert "memory of planned" in said
    assert "t4: 32-true (sm_75 has no bfloat16, and gemma3 overflows float16)" in said
    assert "fits: " in said
    assert doctor.main(["--json", "--config", str(file), *where]) == 0
    lines = json.loads(capsys.readouterr().out)["memory"]["planned"]
    assert [line.split()[0] for line in lines] == list(CARDS)
    assert doctor.main(["--card", "t4", *where]) == 2
    assert "--card: plans for a run; name its configuration too" in capsys.readouterr().err


def test_this_machines_own_card_is_planned_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "own_card", lambda: Card((8, 0), 2.0))
    config = RunConfig(name="x", policy=PolicyConfig(checkpoint=str(file.parent / "none")))
    with pytest.raises(ModelError):
        plan_without_weights(config, None)
    config = doctor.load_config(str(file), [])
    lines = plan_without_weights(config, None)
    assert lines[0].startswith("this GPU: bf16-mixed")
    assert lines[2].startswith("fits: ")
    config.task = "sft"
    with pytest.raises(ConfigError, match="task grpo, and this is sft"):
        plan_without_weights(config, "t4")


def test_a_card_that_cannot_compute_so_is_a_row_that_says_why(file: Path) -> None:
    config = doctor.load_config(str(file), ["trainer.precision=bf16-mixed"])
    rows = plan_without_weights(config, None)
    assert "bf16-mixed needs sm_80" in rows[0]
    assert "bf16-mixed " in rows[1]
