"""The tuned adapter that ships: small, whole, and talked to beside its base."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from rl4bio.config.load import load_config
from rl4bio.files.assets import FOLDER
from rl4bio.generate import main as generate
from rl4bio.runs.tuned import named_run

NAME = "rl4bio:pubmedqa-gemma3-270m"
HOME = FOLDER / NAME.removeprefix("rl4bio:")


def test_it_is_small_and_names_its_base() -> None:
    assert sum(file.stat().st_size for file in HOME.rglob("*") if file.is_file()) < 6e6
    config = load_config(HOME / "config.yaml")
    adapter = yaml.safe_load((HOME / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config.policy.checkpoint == adapter["base_model_name_or_path"] == "google/gemma-3-270m"
    assert config.policy.adapter is not None
    assert config.policy.adapter.rank == adapter["r"]
    with safe_open(HOME / "adapter" / "adapter_model.safetensors", "pt") as weights:
        moved = [name for name in weights.keys() if "lora_B" in name]  # noqa: SIM118
        assert moved
        assert all(bool(weights.get_tensor(name).any()) for name in moved)


def test_its_name_is_that_of_a_run() -> None:
    assert named_run(NAME).tuned == HOME / "adapter"


@pytest.mark.parametrize("command", ["generate", "evaluate", "export"])
def test_another_name_is_refused_with_those_that_ship(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from rl4bio.__main__ import main

    rest = {"generate": ["--chat"], "evaluate": [], "export": ["--output", "x"]}[command]
    assert main([command, "--run", "rl4bio:pubmedqa", *rest]) == 2
    assert f"ships with rl4bio; shipped: {NAME}" in capsys.readouterr().err


@pytest.mark.real
def test_base_and_tuned_answer_side_by_side(
    real_model: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = f"policy.checkpoint={real_model('gemma3-270m')}"
    monkeypatch.setattr("sys.stdin", io.StringIO("Is water wet?\nquit\n"))
    assert generate(["--run", NAME, "--chat", "rollout.max_completion_tokens=8", base]) == 0
    said = capsys.readouterr().out
    assert "base: " in said
    assert "tuned: " in said
