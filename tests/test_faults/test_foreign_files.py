"""Models of strangers: nothing of them runs, at no door, and a damaged file is named."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rl4bio.errors import ModelError
from rl4bio.files import tokenizer_limits
from rl4bio.modules.loading import load_policy
from rl4bio.rewards.meaning.frozen import load_frozen
from rl4bio.sections import AdapterConfig, PolicyConfig


class Payload:
    """Touches a file when it is read as a pickle."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def folder(tiny_policy_folder: Path, tmp_path: Path) -> Path:
    """A model folder that a test may spoil."""
    return Path(shutil.copytree(tiny_policy_folder, tmp_path / "model"))


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


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change to a JSON object of the folder."""

    def spoil(folder: Path) -> None:
        stored = json.loads((folder / name).read_text())
        change(stored)
        (folder / name).write_text(json.dumps(stored))

    return spoil


def replaced(name: str, content: str | bytes | Callable[[Path], object]) -> Callable[[Path], None]:
    """Another file in the place of one, or what a function puts there."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.unlink(missing_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def lists(*names: object) -> Callable[[Path], None]:
    """An index of weights that names these files."""
    index = json.dumps({"weight_map": {str(n): name for n, name in enumerate(names)}})
    return replaced("model.safetensors.index.json", index)


def grows(step: dict[str, Any]) -> None:
    one = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 1000}
    step["normalizer"] = {"type": "Sequence", "normalizers": [one, one, one, one]}


def in_place_of_weights(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors").rename(folder / name) and None


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "an index with ../": (lists("../model.safetensors"), r"lists '\.\./model\.safetensors'"),
    "an index of numbers": (lists("a", 1, None), "lists 1, which is no name"),
    "numpy": (in_place_of_weights("model.npz"), r"model\.npz: refused: a pickle can run code"),
    "no weights": (in_place_of_weights("model.gguf"), r"has no \*\.safetensors"),
    "a pipe": (replaced("model.safetensors", os.mkfifo), "refused: is no plain file"),
    "a device": (
        replaced("tokenizer.json", lambda path: path.symlink_to("/dev/zero")),
        r"tokenizer\.json: refused: is no plain file",
    ),
    "a link to itself": (
        replaced("model.safetensors", lambda path: path.symlink_to(path)),
        r"model\.safetensors: cannot be read",
    ),
    "no object": (replaced("config.json", "[1]"), r"config\.json: holds no JSON object"),
    "nested": (replaced("tokenizer_config.json", "[" * 200_000), r"no JSON \(RecursionError"),
    "a pointer of git-lfs": (
        replaced("tokenizer.json", "version https://git-lfs"),
        r"tokenizer\.json: no JSON \(line 1\)",
    ),
    "a huge tokenizer": (
        replaced("tokenizer.json", lambda path: os.truncate(os.open(path, os.O_CREAT | 2), 2**29)),
        r"tokenizer\.json: has more than",
    ),
    "a text that grows": (changed("tokenizer.json", grows), "may make a text 1e\\+12 times"),
    "a million layers": (
        changed("config.json", lambda stored: stored.update(num_hidden_layers=10**6)),
        "num_hidden_layers is 1,000,000, the files have",
    ),
    "another kernel": (
        changed(
            "config.json", lambda stored: stored.update(parts=[{"attn_implementation": "a/b"}])
        ),
        "names the kernel 'a/b'",
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", SPOILT)
def test_a_folder_that_is_not_what_it_says(folder: Path, door: str, kind: str) -> None:
    """One line, with the same words at every door, and soon."""
    spoil, said = SPOILT[kind]
    spoil(folder)
    with pytest.raises(ModelError, match=said):
        DOORS[door](folder)


def test_a_template_that_does_not_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_limits, "TEMPLATE_S", 0.2)
    loop = "{% for i in range(9999) %}{% for j in range(300) %}{% endfor %}{% endfor %}"
    for path in folder.glob("chat_template*"):
        path.unlink()
    changed("tokenizer_config.json", lambda stored: stored.update(chat_template=loop))(folder)
    with pytest.raises(ModelError, match=r"refused: its chat template has not ended after 0\.2 s"):
        policy_door(folder)


@pytest.mark.parametrize(
    "more",
    [{"megatron_config": {"a": 1}, "megatron_core": "megatron.own"}, {"adapters": {"a": "b"}}],
)
def test_an_adapter_that_names_code(
    folder: Path,
    canary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
) -> None:
    """peft imports a module that an adapter names, where its name begins in one way."""
    (tmp_path / "megatron").mkdir()
    (tmp_path / "megatron" / "own.py").write_text(f"open({str(canary)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    stored = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(stored | more))
    config = PolicyConfig(checkpoint=str(folder), adapter=AdapterConfig(path=str(tmp_path)))
    with pytest.raises(ModelError, match=rf"refused: {next(iter(more))} names code or files"):
        load_policy(config)
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
