"""Folders of strangers that are not what they say: a line each, the same words at every door."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl4bio.errors import ModelError
from rl4bio.files import tokenizer_limits
from rl4bio.modules.loading import load_policy
from rl4bio.sections import AdapterConfig, PolicyConfig
from tests.test_faults.test_foreign_files import DOORS, policy_door


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


@pytest.mark.parametrize("door", DOORS)
def test_what_other_libraries_leave_is_let_be(folder: Path, door: str) -> None:
    """sentence-transformers notes its data as a list, its settings and layers beside it."""
    (folder / "data_config.json").write_text('[{"name": "a", "weight": 1}]')
    (folder / "config_sentence_transformers.json").write_text('{"max_seq_length": 128}')
    (folder / "modules.json").write_text('[{"idx": 0, "path": ""}]')
    DOORS[door](folder)


def test_a_template_that_does_not_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_limits, "TEMPLATE_S", 0.01)
    loop = "{% for i in range(9999) %}{% for j in range(300) %}{% endfor %}{% endfor %}"
    for path in folder.glob("chat_template*"):
        path.unlink()
    changed("tokenizer_config.json", lambda stored: stored.update(chat_template=loop))(folder)
    with pytest.raises(ModelError, match=r"refused: its chat template has not ended after 0\.01 s"):
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


IN_THE_CACHE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a kernel": (
        changed("config.json", lambda stored: stored.update(_attn_implementation="a/b")),
        r"config\.json: refused: .* 'a/b'",
    ),
    "a pickle": (in_place_of_weights("pytorch_model.bin"), "refused: a pickle can run code"),
    "a pointer": (replaced("tokenizer.json", "version https"), r"tokenizer\.json: no JSON"),
    "a cut": (
        lambda folder: os.truncate(folder / "model.safetensors", 3000),
        r"model\.safetensors: damaged",
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", IN_THE_CACHE)
def test_what_the_hub_has_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, kind: str
) -> None:
    """The same words for files that lie in the Hub's cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    spoil, said = IN_THE_CACHE[kind]
    spoil(folder)
    cache = tmp_path / "hub" / "models--somebody--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    (cache / "snapshots").mkdir()
    folder.rename(cache / "snapshots" / ("a" * 40))
    with pytest.raises(ModelError, match=said) as found:
        DOORS[door](Path("somebody/model"))
    assert "use_safetensors" not in str(found.value)
