"""Folders that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rl4bio.errors import StorageError
from rl4bio.storage.folders import check_target, new_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    for name in ("one", "two"):
        with new_folder(target) as building:
            (building / name).write_text(name)
            assert not (target / name).exists()
        assert names(target) == [name]
        assert names(target.parent) == ["b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").touch()

    def fill() -> None:
        with new_folder(target) as building:
            (building / "new").touch()
            raise error

    with pytest.raises(error):
        fill()
    assert names(tmp_path) == ["a"]
    assert names(target) == ["old"]


def test_a_rename_that_fails_brings_the_old_folder_back(tmp_path: Path, monkeypatch) -> None:
    target, rename = tmp_path / "a", os.replace
    target.mkdir()
    (target / "old").touch()

    def failing(source: Path, place: Path) -> None:
        if str(source).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        rename(source, place)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(StorageError, match="No space left"), new_folder(target) as building:
        (building / "new").touch()
    assert names(tmp_path) == ["a"]
    assert names(target) == ["old"]


def test_what_may_be_replaced(tmp_path: Path) -> None:
    check_target(tmp_path / "none", force=False)
    check_target(tmp_path, force=False)  # empty
    (tmp_path / "config.json").touch()
    with pytest.raises(StorageError, match="add --force"):
        check_target(tmp_path, force=False)
    check_target(tmp_path, force=True)
    with pytest.raises(StorageError, match="is a file"):
        check_target(tmp_path / "config.json", force=True)
    (tmp_path / "config.json").rename(tmp_path / "thesis.tex")
    with pytest.raises(StorageError, match=r"model folders alone, this one has no config\.json"):
        check_target(tmp_path, force=True)
    with (
        pytest.raises(StorageError, match="File exists"),
        new_folder(tmp_path / "thesis.tex" / "a"),
    ):
        pass
