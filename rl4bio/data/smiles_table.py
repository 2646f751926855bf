"""Tables of molecules as columns of text: .csv, .tsv and .smi, plain or under gzip.

Column names are lower-cased, as MolGPT does. A file that cannot be read ends in a DataError that
names the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl4bio.data.records import shown
from rl4bio.errors import DataError
from rl4bio.registry import did_you_mean

SUFFIXES = (".csv", ".tsv", ".txt", ".smi", ".smiles")
MAX_BYTES = 4 * 2**30
"""Of an unpacked file; more is taken for a bomb or a mistake."""


@dataclass(slots=True, kw_only=True)
class Table:
    """The cells of a file by column, with the line that each row begins on."""

    path: Path
    names: list[str]
    """Lower-cased column names."""
    rows: list[list[str]]
    lines: list[int]

    def index(self, name: str, option: str) -> int:
        """Place of a column.

        Args:
            name: in any case.
            option: of `data.options` that asks for it, for the message.

        Raises:
            DataError: the file has no such column.
        """
        wanted = name.strip().lower()
        if wanted not in self.names:
            raise DataError(
                f"{self.path}: has no column {name!r} (data.options.{option})"
                f"{did_you_mean(wanted, self.names)}; its columns: "
                f"{', '.join(shown(column)[1:-1] for column in self.names)}"
            )
        return self.names.index(wanted)

    def place(self, row: int) -> str:
        return f"{self.path}:{self.lines[row]}"


def read_table(path: Path) -> Table:
    """All rows of a file.

    Comma, semicolon and tab separate columns, whichever the header has most of (ChEMBL writes
    semicolons). A .smi file has one molecule a line, its SMILES up to the first blank; a header is
    optional there and what follows the SMILES is not read. Blank lines are skipped.

    Raises:
        DataError: the file is missing, empty, of another kind, damaged, not UTF-8, or has a row
            with more or fewer columns than its header.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if packed else suffixes)[-1:]
    if not kind or kind[0] not in SUFFIXES:
        raise DataError(
            f"{path}: unknown kind of file; needs {', '.join(SUFFIXES)}, or one of them with .gz"
        )
    text = _read_text(path, packed=packed)
    table = _read_smi(path, text) if kind[0] in (".smi", ".smiles") else _read_csv(path, text)
    if not table.rows:
        raise DataError(f"{path}: has a header but no molecule; fetch it again")
    return table


def _read_text(path: Path, *, packed: bool) -> str:
    try:
        data = path.read_bytes()
        if packed:
            with gzip.open(io.BytesIO(data)) as stream:
                data = stream.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = "ends early" if isinstance(error, EOFError) else "is damaged or not gzip"
        raise DataError(f"{path}: the gzip file {reason}; fetch it again") from None
    except OSError as error:
        raise DataError(
            f"{path.absolute()}: cannot be read ({error.strerror or error}); check "
            "data.options.source"
        ) from None
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: unpacks to more than {MAX_BYTES // 2**30} GiB; split it")
    if not data.strip():
        raise DataError(f"{path}: the file is empty; fetch it again")
    start = data[:512].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}:1: a git-lfs pointer, not the data; run `git lfs pull`")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path}:1: a web page, not data; download the raw file again")
    if data.startswith((b"\x1f\x8b", b"PK\x03\x04", b"PAR1")) or b"\0" in data[:4096]:
        raise DataError(f"{path}: a binary file under a text name; unpack it, or add .gz")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from None


def _read_csv(path: Path, text: str) -> Table:
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    names: list[str] = []
    line = 1
    try:
        for cells in reader:
            here, line = line, reader.line_num + 1
            if not any(cells):
                continue
            if not names:
                names = [cell.strip().lower() for cell in cells]
                _check_names(path, here, names)
                continue
            if len(cells) != len(names):
                raise DataError(
                    f"{path}:{here}: {len(cells)} columns, the header has {len(names)}; a cell "
                    f"with {delimiter!r} in it needs double quotes"
                )
            rows.append(cells)
            lines.append(here)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None
    return Table(path=path, names=names, rows=rows, lines=lines)


def _check_names(path: Path, line: int, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}:{line}: two columns are called {shown(twice)}; rename one")


def _read_smi(path: Path, text: str) -> Table:
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split(None, 1)
        # No SMILES holds the word: `m` stands inside brackets alone.
        if not words or (not rows and "smiles" in words[0].lower()):
            continue
        rows.append([words[0]])
        lines.append(number)
    return Table(path=path, names=["smiles"], rows=rows, lines=lines)
