"""The report on a machine: exit code, versions, choices, and no secret in it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from rl4bio import doctor, hardware


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return doctor.examine(tmp_path_factory.mktemp("runs"))


def test_this_environment_is_complete(report: dict) -> None:
    assert report["ok"]
    for name, package in report["packages"].items():
        assert package["version"], name
        assert package["inside"], f"{name} {package['version']} is outside {package['window']}"
    assert set(report["packages"]) == set(doctor.requirement_windows())


def test_choices_are_those_of_this_hardware(report: dict) -> None:
    capability = hardware.lowest_capability()
    chosen = hardware.resolve_precision("auto", family="gemma3", capability=capability)
    assert report["choices"]["gemma3"]["precision"] == {
        "value": chosen.value,
        "reason": chosen.reason,
    }
    assert report["choices"]["gemma2"]["attention"]["value"] in ("eager", "flash_attention_2")
    assert (report["devices"] == []) == (capability is None)


def test_text_holds_every_part(report: dict) -> None:
    text = doctor.render(report)
    for word in ("torch", "cores", "gemma3", "Hub", "W&B", "output", "flash-attn"):
        assert word in text
    assert "NOT" not in text
    broken = {**report, "packages": {"peft": doctor.examine_package("peft", "no_such_peft", None)}}
    text = doctor.render(broken)
    assert "DOES NOT IMPORT: ModuleNotFoundError: No module named 'no_such_peft'" in text
    assert text.endswith("pip install -c constraints.txt peft")


@pytest.mark.usefixtures("no_traces")
def test_json_and_exit_codes(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And what bitsandbytes says of other packages when it is imported is not shown."""
    monkeypatch.setattr(doctor, "PACKAGES", {"pyyaml": "yaml", "torch": "torch"})
    monkeypatch.setattr(logging.getLogger("bitsandbytes"), "level", logging.NOTSET)
    arguments = ["--json", "--output-dir", str(tmp_path)]
    assert doctor.main(arguments) == 0
    assert not logging.getLogger("bitsandbytes.functional").isEnabledFor(logging.WARNING)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    monkeypatch.setitem(sys.modules, "yaml", None)  # importing it now raises ImportError
    assert doctor.main(arguments) == 2
    assert json.loads(capsys.readouterr().out)["packages"]["pyyaml"]["error"].startswith(
        "ModuleNotFoundError"
    )


def test_says_that_there_are_credentials_but_not_which(
    capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", {"torch": "torch"})
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HF_TOKEN", "WANDB_API_KEY", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    state = doctor.network_state()
    assert (state["hub_token"], state["wandb_key"]) == (False, False)
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password planted-password\n")
    (tmp_path / "token").write_text("planted-token")
    state = doctor.network_state()
    assert (state["hub_token"], state["wandb_key"]) == (True, True)
    doctor.main(["--output-dir", str(tmp_path)])
    assert "planted" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "window", "inside"),
    [
        ("2.13.0+cpu", ">=2.10,<3", True),
        ("2.9.1", ">=2.10,<3", False),  # 2.9 < 2.10: compared as numbers, not as text
        ("3.0.0", ">=2.10,<3", False),
        ("2.4.0.dev1", ">=2.4.0.dev0", True),
    ],
)
def test_window(version: str, window: str, inside: bool) -> None:
    assert doctor.in_window(version, window) is inside


def test_output_folder(tmp_path: Path) -> None:
    found = doctor.writable(tmp_path / "a" / "b")
    assert (found["writable"], found["tried"]) == (True, str(tmp_path))
    assert list(tmp_path.iterdir()) == []  # nothing is left behind, no folder made
    (tmp_path / "file").write_text("")
    assert not doctor.writable(tmp_path / "file" / "runs")["writable"]
