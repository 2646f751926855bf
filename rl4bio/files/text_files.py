"""Whole text files of a user; what holds no text is refused, with what to do about it."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

from rl4bio.errors import DataError

MAX_BYTES = 4 * 2**30
"""Of an unpacked file; more is taken for a bomb or a mistake."""


def read_text(path: Path, *, option: str = "its name") -> str:
    """The text of a UTF-8 file, unpacked where its name ends in .gz, without a byte order mark.

    Args:
        path: of the file.
        option: what named the file, for the message where it cannot be read.

    Raises:
        DataError: the file is missing, empty, damaged or no UTF-8 text; names the line.
    """
    data = read_bytes(path, option=option)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}:1: UTF-16 text; save the file as UTF-8")
    if data.startswith((b"PAR1", b"\x1f\x8b", b"PK\x03\x04")):
        raise DataError(f"{path}:1: a binary file under a text name; rename or unpack it")
    if (nul := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise DataError(f"{path}:{line}: a NUL byte; the file is damaged or not UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        bad = data[error.start]
        raise DataError(
            f"{path}:{line}: byte 0x{bad:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def endless(path: Path) -> bool:
    """Whether a path is a pipe or a device, of which nobody knows where it ends."""
    return path.exists() and not path.is_file() and not path.is_dir()


def check_plain(path: Path) -> None:
    """Refuse a pipe or a device.

    Raises:
        DataError: it is one.
    """
    if endless(path):
        raise DataError(f"{path}: is no plain file; write its content to one and name that")


def bounded_bytes(path: Path, most: int) -> bytes:
    """The bytes of a file of strangers that has no more than so many.

    Raises:
        ValueError: it has more, or is no plain file.
        OSError: it cannot be read.
    """
    if endless(path):
        raise ValueError(f"{path.name} is no plain file")
    if path.stat().st_size > most:
        raise ValueError(f"{path.name} has more than {most:,} bytes")
    return path.read_bytes()


def read_bytes(path: Path, *, option: str = "its name") -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz.

    Raises:
        DataError: the file is missing, empty, damaged or no plain file, or stands for another one.
    """
    check_plain(path)
    try:
        data = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            with gzip.open(io.BytesIO(data)) as stream:
                data = stream.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = "ends early" if isinstance(error, EOFError) else "is damaged or not gzip"
        raise DataError(f"{path}: the gzip file {reason}; fetch it again") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path.absolute()}: cannot be read ({reason}); check {option}") from None
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: unpacks to more than {MAX_BYTES // 2**30} GiB; split it")
    if not data.strip():
        raise DataError(f"{path}:1: the file is empty; fetch it again")
    start = data[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}:1: a git-lfs pointer, not the data; run `git lfs pull`")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path}:1: a web page, not data; download the raw file again")
    return data
