"""Checkpoint folders: what is torn or damaged is found, what is good is never lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rl4bio.errors import ModelError, StorageError
from rl4bio.storage import (
    checkpoints,
    latest_checkpoint,
    load_checkpoint_folder,
    save_checkpoint_folder,
    verify_checkpoint,
)


def save(root: Path, step: int, *, keep: int = 9, size: int = 8) -> Path:
    weights = {"w": torch.full((size,), float(step)), "b": torch.tensor(step)}
    return save_checkpoint_folder(
        root, step, tensors={"model": weights}, state={"step": step}, keep=keep
    )


def steps(root: Path) -> list[int]:
    return sorted(int(p.name.removeprefix("step-")) for p in root.glob("step-*"))


def test_round_trip(tmp_path: Path) -> None:
    path = save(tmp_path / "new" / "checkpoints", 123)
    assert path.name == "step-00000123"
    assert sorted(os.listdir(path)) == ["MANIFEST.json", "model.safetensors", "state.json"]
    tensors, state = load_checkpoint_folder(path)
    assert state == {"step": 123}
    assert torch.equal(tensors["model"]["w"], torch.full((8,), 123.0))
    assert latest_checkpoint(path.parent) == (path, [])


def test_newest_is_by_step_not_by_time(tmp_path: Path) -> None:
    new, old = save(tmp_path, 10), save(tmp_path, 9)
    os.utime(new, (0, 0))
    assert latest_checkpoint(tmp_path)[0] == new
    assert old.exists()


def test_what_would_not_be_read_back_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = save(tmp_path, 1)
    monkeypatch.setattr(checkpoints, "MAX_STATE_BYTES", 1000)
    with pytest.raises(StorageError, match=r"state\.json would have 1,0.. bytes, 1,000 are read"):
        save_checkpoint_folder(tmp_path, 2, tensors={}, state={"step": 2, "kept": "x" * 1000})
    assert latest_checkpoint(tmp_path) == (old, [])
    assert [path.name for path in tmp_path.iterdir()] == [old.name]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_prune(tmp_path: Path, keep: int) -> None:
    for step in range(5):
        save(tmp_path, step, keep=keep)
    assert steps(tmp_path) == list(range(5 - keep, 5))


def test_damaged_folders_neither_count_nor_vanish(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "step-00000003" / "MANIFEST.json").unlink()
    save(tmp_path, 4, keep=2)
    # 4 and 2 are the two that verify, 3 is kept aside, 1 is beyond.
    assert steps(tmp_path) == [2, 3, 4]
    (tmp_path / "step-00000004" / "state.json").write_text("{}")
    path, warnings = latest_checkpoint(tmp_path)
    assert path == tmp_path / "step-00000002"
    assert [w.partition(": not used, ")[2] for w in warnings] == [
        "state.json has 2 bytes, should have 11",
        "MANIFEST.json is missing (the save was interrupted)",
    ]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 1, size=4)
    save(tmp_path, 1, size=6)
    assert load_checkpoint_folder(tmp_path / "step-00000001")[0]["model"]["w"].shape == (6,)
    assert os.listdir(tmp_path) == ["step-00000001"]


@pytest.mark.parametrize("name", ["MANIFEST.json", "model.safetensors", "state.json"])
def test_every_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 7)
    good = (path / name).read_bytes()
    for position in range(len(good)):
        for bit in (0, 3, 7):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            (path / name).write_bytes(bad)
            assert verify_checkpoint(path), f"byte {position} bit {bit}"
    (path / name).write_bytes(good)
    assert not verify_checkpoint(path)


@pytest.mark.parametrize("name", ["MANIFEST.json", "model.safetensors", "state.json"])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99])
def test_torn_files_are_found(tmp_path: Path, name: str, share: float) -> None:
    old, new = save(tmp_path, 1), save(tmp_path, 2)
    content = (new / name).read_bytes()
    (new / name).write_bytes(content[: int(len(content) * share)])
    path, warnings = latest_checkpoint(tmp_path)
    assert path == old
    assert len(warnings) == 1
    with pytest.raises(ModelError, match=r"step-00000002: .*; use an older checkpoint"):
        load_checkpoint_folder(new)


def test_missing_added_and_renamed(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "more.txt").write_text("x")
    assert verify_checkpoint(path) == "more.txt does not belong to it"
    (path / "more.txt").unlink()
    (path / "model.safetensors").rename(tmp_path / "aside")
    assert verify_checkpoint(path) == "model.safetensors is missing"
    (tmp_path / "aside").rename(path / "model.safetensors")
    shutil.copytree(path, tmp_path / "step-00000005")
    assert verify_checkpoint(tmp_path / "step-00000005") == "it holds step 1"


def test_nothing_there(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "gone") == (None, [])
    with pytest.raises(ModelError, match="no checkpoint folder here"):
        load_checkpoint_folder(tmp_path / "gone")


def test_a_full_disk_keeps_what_was_saved(
    tmp_path: Path, with_small_files: Callable[..., str]
) -> None:
    """A limit of 64 kB a file stands in for a disk that fills up during the save."""
    old = save(tmp_path, 1)
    error = with_small_files(
        65536,
        "from pathlib import Path\n"
        "import torch\n"
        "from rl4bio.storage import save_checkpoint_folder\n"
        "tensors = {'model': {'w': torch.zeros(100_000)}}\n"
        f"save_checkpoint_folder(Path({str(tmp_path)!r}), 2, tensors=tensors, state={{}})\n",
    )
    assert "StorageError" in error
    assert "step-00000002: cannot be written" in error
    assert os.listdir(tmp_path) == [old.name]
    assert not verify_checkpoint(old)


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="Not a directory"):
        save(tmp_path / "file" / "checkpoints", 1)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1"):
        save(tmp_path, 1, keep=0)


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """20 processes that only save are killed at random times; the newest folder always verifies,
    and no acknowledged step is lost."""
    rng = random.Random(0)
    for _ in range(20):
        start = max([-1, *steps(tmp_path)]) + 1
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            step = start
            while True:
                save(tmp_path, step, keep=2, size=20_000)
                os.write(write, f"{step}\n".encode())
                step += 1
        os.close(write)
        time.sleep(rng.uniform(0.005, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = os.read(read, 1 << 16).split()
        os.close(read)
        path, _ = latest_checkpoint(tmp_path)
        if said:
            assert path is not None
            assert int(path.name.removeprefix("step-")) >= int(said[-1])
        if path is not None:
            tensors, state = load_checkpoint_folder(path)
            assert torch.equal(tensors["model"]["w"], torch.full((20_000,), float(state["step"])))
    assert latest_checkpoint(tmp_path)[0] is not None
