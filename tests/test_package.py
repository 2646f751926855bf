"""What is around the code: the wheel holds all of it, versions agree, side files hold true."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from rl4bio.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
VERSION = SETUP["metadata"]["version"]


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert citation["license"] == SETUP["metadata"]["license"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert VERSION in headings[:2]  # below what is not released yet


def test_commit_hooks_are_the_checks_of_make() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in hooks:
        command = hook["entry"].removeprefix(".venv/bin/").removesuffix(" --fix")
        assert f"$(BIN)/{command}" in makefile


def test_images_use_what_is_there() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source not in ignored
    assert set(re.findall(r"-c (\S+)", text)) <= set(copied)
    assert set(re.findall(r"\.\[(\w+)\]", text)) <= set(SETUP["options.extras_require"])
    [entry] = json.loads(re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)[0])
    [default] = json.loads(re.findall(r"^CMD (.+)$", text, re.MULTILINE)[0])
    assert f"{entry} = rl4bio.__main__:main" in SETUP["options.entry_points"]["console_scripts"]
    assert {default, "fit"} <= set(COMMANDS)
    for name in re.findall(r"rl4bio:(\w+)", text):
        assert (ROOT / "configs" / f"{name}.yaml").is_file()
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make setup"
    assert "\nsetup:" in (ROOT / "Makefile").read_text()
    for version in re.findall(r"python:(\d\.\d+)", f"{text} {container['image']}"):
        assert f"Python :: {version}" in SETUP["metadata"]["classifiers"]


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("no setuptools or no pip to build with")
    source = tmp_path / "source"
    source.mkdir()
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("rl4bio", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leave)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    done = subprocess.run(
        [*build, "-w", str(tmp_path), str(source)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [*(ROOT / "rl4bio").rglob("*"), *(ROOT / "rl4bio" / "configs").glob("*")]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(wanted) > 300
    assert wanted - held == set()
