"""Atomic writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.errors import StorageError
from rl4bio.storage import require_free_space, write_atomic, write_json


def test_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "one")
    write_atomic(path, "zwei ä".encode())
    assert path.read_text(encoding="utf-8") == "zwei ä"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "ä": "x"}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_a_write_that_fails_half_way_keeps_the_old_file(
    tmp_path: Path, with_small_files: Callable[..., str]
) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")
    error = with_small_files(
        4096,
        "from pathlib import Path\n"
        "from rl4bio.storage import write_atomic\n"
        f"write_atomic(Path({str(path)!r}), 'n' * 10_000)\n",
    )
    assert "StorageError" in error
    assert "a.txt: cannot be written (File too large)" in error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        write_atomic(tmp_path / "gone" / "a.txt", "x")


def test_free_space(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1)
    with pytest.raises(StorageError, match=r"GB free, the run needs 1000000000\.00 GB"):
        require_free_space(tmp_path, 10**18)
