"""What is read as text, and what is said about a file that holds none."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.errors import DataError, Rl4bioError
from rl4bio.files import text_files
from rl4bio.files.rows import read_rows
from rl4bio.files.text_files import bounded_bytes, read_bytes, read_text
from rl4bio.storage.torch_files import read_tensors


@pytest.mark.parametrize("name", ["a.csv", "A.CSV.GZ"])
def test_a_byte_order_mark_goes_and_line_ends_stay(name: str, tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfna\xc3\xafve\r\n2"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("GZ") else data)
    assert read_text(tmp_path / name) == "naïve\r\n2"
    assert read_bytes(tmp_path / name) == data


PACKED = gzip.compress(b"smiles\n" + b"CCO\n" * 99)
BAD = {
    "empty.csv": (b"", ":1: the file is empty; fetch it again"),
    "blank.csv.gz": (gzip.compress(b" \n"), ":1: the file is empty"),
    "latin.csv": (b"a\nb\ncaf\xe9\n", ":3: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "wide.smi": (b"\xff\xfeC\0", ":1: UTF-16 text"),
    "nul.smi": (b"C\nC\0\n", ":2: a NUL byte"),
    "packed.csv": (PACKED, ":1: a binary file under a text name; rename or unpack it"),
    "twice.csv.gz": (gzip.compress(PACKED), ":1: a binary file"),
    "plain.csv.gz": (b"smiles\nC\n", ": the gzip file is damaged or not gzip; fetch it again"),
    "cut.csv.gz": (PACKED[:-9], ": the gzip file ends early; fetch it again"),
    "flipped.csv.gz": (PACKED[:20] + b"\xff" + PACKED[21:], ": the gzip file is damaged"),
    "lfs.csv": (b"version https://git-lfs.github.com/spec/v1\n", ":1: a git-lfs pointer"),
    "page.csv": (b"\n<!DOCTYPE html>", ":1: a web page, not data; download the raw file again"),
}


@pytest.mark.parametrize("name", BAD)
def test_no_text(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{name}{message}")):
        read_text(tmp_path / name)


def test_what_cannot_be_opened_names_the_option(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = re.escape(f"{tmp_path}/none.csv: cannot be read (No such file or directory)")
    with pytest.raises(DataError, match=f"^{where}; check data.options.source$"):
        read_text(Path("none.csv"), option="data.options.source")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\); check its name$"):
        read_text(tmp_path)


@pytest.mark.parametrize("read", [read_text, read_rows, read_tensors])
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Nobody writes into it, so that opening it would never end."""
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(Rl4bioError, match="is no plain file"):
        read(tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="is no plain file"):
        bounded_bytes(tmp_path / "rows.csv", 10)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_BYTES", 395)
    (tmp_path / "a.csv.gz").write_bytes(PACKED)  # 403 bytes
    with pytest.raises(DataError, match="unpacks to more than"):
        read_text(tmp_path / "a.csv.gz")
