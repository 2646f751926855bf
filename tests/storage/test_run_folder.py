"""Claiming a run's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.errors import ConfigError, StorageError
from rl4bio.storage import RunFolder
from rl4bio.storage.run_folder import changed_keys

CONFIG = (
    "name: a\ngrpo: {kl_coef: 0.0, group_size: 8}\ntrainer: {max_steps: 10}\nrewards: [{w: 1}]\n"
)


def test_a_fresh_folder(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "runs", "a", CONFIG)
    assert folder.root == tmp_path / "runs" / "a"
    assert folder.config.read_text() == CONFIG
    assert folder.completions.is_dir()
    assert folder.checkpoints.is_dir()
    assert not folder.resumed
    folder.close()


@pytest.mark.parametrize(
    "left",
    [
        "metrics.csv",
        "molecules.csv",
        "summary.json",
        "adapter/adapter_config.json",
        "model/config.json",
        "checkpoints/step-00000001/state.json",
        "completions/step-000001.jsonl",
    ],
)
def test_a_name_that_is_taken(tmp_path: Path, left: str) -> None:
    """By anything that a step leaves."""
    RunFolder.open(tmp_path, "a", CONFIG).close()
    path = tmp_path / "a" / left
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("")
    for look in (RunFolder.check_free, RunFolder.open):
        with pytest.raises(StorageError, match=r"add --resume to continue it, or choose another "):
            look(tmp_path, "a", CONFIG)
    RunFolder.check_free(tmp_path, "a", CONFIG, resume=True)


def test_a_run_that_was_killed_before_its_first_step_leaves_its_name_free(tmp_path: Path) -> None:
    first = RunFolder.open(tmp_path, "a", CONFIG)
    first.log.write_text("loading ...")
    (first.checkpoints / ".saving-step-00000001").mkdir()
    first.close()
    other = CONFIG.replace("kl_coef: 0.0", "kl_coef: 0.1")
    RunFolder.check_free(tmp_path, "a", other)
    second = RunFolder.open(tmp_path, "a", other)
    assert second.config.read_text() == other
    second.close()


def test_a_look_makes_and_changes_nothing(tmp_path: Path) -> None:
    RunFolder.check_free(tmp_path / "runs", "a", CONFIG)
    assert not (tmp_path / "runs").exists()
    folder = RunFolder.open(tmp_path, "a", CONFIG)
    lock = (folder.root / ".lock").read_text()
    with pytest.raises(StorageError, match=rf"in use by process {os.getpid()} on "):
        RunFolder.check_free(tmp_path, "a", CONFIG)
    assert (folder.root / ".lock").read_text() == lock
    folder.close()


def test_only_a_folder_of_ones_own_is_discarded(tmp_path: Path) -> None:
    own = RunFolder.open(tmp_path, "a", CONFIG)
    own.discard()
    assert not own.root.exists()
    RunFolder.open(tmp_path, "a", CONFIG).close()
    other = RunFolder.open(tmp_path, "a", CONFIG, resume=True)
    other.discard()
    assert other.config.is_file()
    RunFolder(tmp_path / "a").discard()  # as another rank sees it
    assert other.config.is_file()
    other.close()


def test_resume(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, "a", CONFIG).close()
    longer = CONFIG.replace("max_steps: 10", "max_steps: 20")
    folder = RunFolder.open(tmp_path, "a", longer, resume=True)
    assert folder.resumed
    assert folder.config.read_text() == longer
    folder.close()


def test_resume_of_nothing_starts(tmp_path: Path) -> None:
    """The same command, with --resume, must do after a kill before the first write."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".config.yaml.1.tmp").write_text("name: a")
    folder = RunFolder.open(tmp_path, "a", CONFIG, resume=True)
    assert not folder.resumed
    folder.close()


def test_resume_with_another_configuration(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, "a", CONFIG).close()
    other = CONFIG.replace("kl_coef: 0.0", "kl_coef: 0.1")
    with pytest.raises(ConfigError, match=r"grpo\.kl_coef: 0\.0 -> 0\.1"):
        RunFolder.open(tmp_path, "a", other, resume=True)
    assert (tmp_path / "a" / "config.yaml").read_text() == CONFIG
    # The refusal gave the lock back.
    RunFolder.open(tmp_path, "a", CONFIG, resume=True).close()


@pytest.mark.parametrize("resume", [False, True])
def test_somebody_elses_folder(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("precious")
    with pytest.raises(StorageError, match=r"no run's folder \(no config\.yaml\)"):
        RunFolder.open(tmp_path, "a", CONFIG, resume=resume)
    assert (tmp_path / "a" / "thesis.tex").read_text() == "precious"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=r"runs/a: cannot be written"):
        RunFolder.open(tmp_path / "runs", "a", CONFIG)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            RunFolder.open(tmp_path, "a", CONFIG)
    finally:
        tmp_path.chmod(0o755)


def test_two_processes(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path, "a", CONFIG)
    code = (
        "import sys\nfrom pathlib import Path\nfrom rl4bio.storage import RunFolder\n"
        "from rl4bio.errors import StorageError\n"
        "try:\n    RunFolder.open(Path(sys.argv[1]), 'a', sys.argv[2], resume=True)\n"
        "except StorageError as error:\n    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), CONFIG]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"in use by process {os.getpid()} on " in second.stderr
    assert second.returncode == 1
    folder.close()
    third = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert third.returncode == 0, third.stderr


def test_changed_keys() -> None:
    new = CONFIG.replace("w: 1", "w: 2").replace("group_size: 8", "group_size: 4")
    assert changed_keys(CONFIG, new) == ["grpo.group_size: 8 -> 4", "rewards.0.w: 1 -> 2"]
    assert changed_keys(CONFIG, new, ("grpo", "rewards")) == []
    assert changed_keys("a: 1\nb: []", "b: [3]") == [
        "a: 1 -> None",
        "b: [] -> None",
        "b.0: None -> 3",
    ]


def test_import_loads_no_torch() -> None:
    code = "import sys, rl4bio.storage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch) -> None:
    """Relative or absolute; or of a folder that has moved, as far as a name can say."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "model").mkdir()

    def changed(old: str, new: str) -> bool:
        return bool(changed_keys(f"checkpoint: {old}", f"checkpoint: {new}"))

    assert not changed("new/model", f"{tmp_path}/new/model")
    assert not changed(f"{tmp_path}/new/model", "new/model")
    assert not changed(f"{tmp_path}/old/model", f"{tmp_path}/new/model")
    assert changed(f"{tmp_path}/old/model", f"{tmp_path}/new/other")
    assert changed("old/model", "new/model")
    assert changed("lab/a", "lab/b")


@pytest.mark.parametrize("name", ["metrics.csv", "molecules.csv", "log.txt"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_named_and_not_waited_for(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    RunFolder.open(tmp_path, "a", CONFIG).close()
    make(tmp_path / "a" / name)
    with pytest.raises(StorageError, match=f"{name}: is no file; move it away"):
        RunFolder.open(tmp_path, "a", CONFIG, resume=True)


def test_a_configuration_of_other_bytes(tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path, "a", CONFIG)
    folder.close()
    folder.config.write_bytes(b"\xff\xfe\0")
    with pytest.raises(StorageError, match=r"config\.yaml of the run folder is damaged"):
        RunFolder.open(tmp_path, "a", CONFIG, resume=True)
    assert folder.complete(CONFIG, resume=True) == ""
