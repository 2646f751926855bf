"""Which records of a run's steps stay, and what a resumed run drops."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.errors import StorageError
from rl4bio.storage.step_records import keep_files, keep_rows, stays, step_file, step_files


def kept(newest: int, keep: int) -> list[int]:
    return [step for step in range(1, newest + 1) if stays(step, newest, keep)]


def test_the_newest_half_and_an_even_choice_of_the_rest() -> None:
    # Of 8: steps 17 to 20, and of 1 .. 20 every eighth (1, 9, 17), as every fourth would be five.
    assert kept(20, 8) == [1, 9, 17, 18, 19, 20]
    assert kept(8, 8) == list(range(1, 9))
    assert kept(20, 0) == list(range(1, 21))
    assert kept(20, 1) == [20]
    assert kept(20, 2) == [1, 20]


@pytest.mark.parametrize("keep", [1, 2, 3, 7, 10, 64])
def test_never_more_than_keep_and_what_has_gone_stays_gone(keep: int) -> None:
    before: list[int] = []
    for newest in range(1, 300):
        now = kept(newest, keep)
        assert len(now) <= keep
        assert now[-1] == newest
        assert set(now) <= {*before, newest}
        before = now


def test_files(tmp_path: Path) -> None:
    for step in (1, 2, 3, 1234567):
        step_file(tmp_path, step).touch()
    (tmp_path / "notes.jsonl").touch()
    assert list(step_files(tmp_path)) == [1, 2, 3, 1234567]
    keep_files(tmp_path, lambda step: step <= 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "notes.jsonl",
        "step-000001.jsonl",
        "step-000002.jsonl",
    ]
    assert step_files(tmp_path / "none") == {}


class TestRows:
    TABLE = b"step,smiles\n1,C\n2,\xc3\xa9\n10,CC\n"

    @pytest.mark.parametrize(
        ("table", "left"),
        [
            (TABLE, b"step,smiles\n1,C\n2,\xc3\xa9\n"),
            (b"step,smiles\n1,C\n2,C", b"step,smiles\n1,C\n"),  # killed in the middle of a write
            (b"step,smiles\n1,C\n1", b"step,smiles\n1,C\n"),
            (b"step,smiles\n1,C\n,C\nx,C\n", b"step,smiles\n1,C\n"),
            (b"smiles,step\nC,10\n", b"smiles,step\nC,10\n"),
            (b"", b""),
        ],
    )
    def test_what_is_left(self, table: bytes, left: bytes, tmp_path: Path) -> None:
        path = tmp_path / "molecules.csv"
        path.write_bytes(table)
        keep_rows(path, lambda step: step <= 2)
        assert path.read_bytes() == left

    def test_a_file_that_is_right_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "molecules.csv"
        path.write_bytes(self.TABLE)
        inode = path.stat().st_ino
        keep_rows(path, lambda step: step <= 10)
        assert path.stat().st_ino == inode
        keep_rows(path, lambda step: step <= 9)
        assert path.stat().st_ino != inode
        keep_rows(tmp_path / "none.csv", lambda step: True)
        assert not (tmp_path / "none.csv").exists()

    def test_what_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "molecules.csv").mkdir()
        with pytest.raises(StorageError, match=r"molecules\.csv: cannot be written"):
            keep_rows(tmp_path / "molecules.csv", lambda step: True)
