"""Models of strangers: nothing of them runs, at no door, and a damaged file is named."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.errors import ModelError
from rl4bio.modules.loading import load_policy
from rl4bio.rewards.meaning.frozen import load_frozen
from rl4bio.sections import AdapterConfig, PolicyConfig


class Payload:
    """Touches a file when it is read as a pickle."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def policy_door(folder: Path) -> None:
    load_policy(PolicyConfig(checkpoint=str(folder)))


def judge_door(folder: Path) -> None:
    load_frozen(str(folder), "causal")


DOORS = {"policy": policy_door, "judge": judge_door}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle(folder: Path, canary: Path, door: str, protocol: int) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "weights.pt"):
        text = pickle.dumps({"w": Payload(canary)}, protocol=protocol)
        (folder / name).write_bytes(text)
    torch.save({"w": Payload(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: refused: a pickle can run code"):
        DOORS[door](folder)
    assert not canary.exists()


def test_an_adapter_that_is_a_pickle(folder: Path, canary: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    stored = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(stored))
    torch.save({"w": Payload(canary)}, adapter / "adapter_model.bin")
    config = PolicyConfig(checkpoint=str(folder), adapter=AdapterConfig(path=str(adapter)))
    with pytest.raises(ModelError, match=r"adapter_model\.bin: refused: a pickle can run code"):
        load_policy(config)
    assert not canary.exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own(
    folder: Path, canary: Path, door: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked for on stdin, and does not run."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on stdin"))
    (folder / "own.py").write_text(f"import os\nos.system('touch {canary}')\n")
    stored = json.loads((folder / place).read_text())
    if place == "config.json":
        stored["model_type"] = "a_model_of_its_own"
        stored["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    else:
        stored["tokenizer_class"] = "OwnTokenizer"
        stored["auto_map"] = {"AutoTokenizer": ["own.OwnTokenizer", None]}
    (folder / place).write_text(json.dumps(stored))
    try:
        DOORS[door](folder)
    except ModelError as error:
        assert "refused: it needs code of its own" in str(error)  # noqa: PT017
        assert "trust_remote_code" not in str(error)  # noqa: PT017
    else:
        assert place == "tokenizer_config.json"  # read without its code
    assert not canary.exists()


@pytest.mark.parametrize("door", DOORS)
def test_a_kernel_from_the_hub(folder: Path, door: str) -> None:
    stored = json.loads((folder / "config.json").read_text())
    stored["_attn_implementation"] = "somebody/kernels"
    (folder / "config.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"config\.json: refused: .* 'somebody/kernels'"):
        DOORS[door](folder)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("cut", [1, 100, "half", "all"])
def test_weights_that_are_cut_off(folder: Path, door: str, cut: object) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    kept = {"half": len(content) // 2, "all": 0}.get(str(cut))
    path.write_bytes(content[: len(content) - int(str(cut)) if kept is None else kept])
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        DOORS[door](folder)


def test_a_shard_that_is_cut_by_one_byte(
    tiny_policy_folder: Path, tmp_path: Path, break_up: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "sharded"
    break_up(tiny_policy_folder, folder)
    policy_door(folder)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    with pytest.raises(ModelError, match=rf"{shards[1].name}: damaged: it has .* bytes, its head"):
        policy_door(folder)
    shards[1].unlink()
    with pytest.raises(ModelError, match=rf"lists '{shards[1].name}', which is not in the folder"):
        policy_door(folder)


@pytest.fixture
def break_up() -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(source)
        model.save_pretrained(target, max_shard_size="20KB")
        AutoTokenizer.from_pretrained(source).save_pretrained(target)

    return write
