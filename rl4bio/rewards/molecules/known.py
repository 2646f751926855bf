"""Sets of known molecules, as 64-bit keys of their canonical SMILES."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.states import molecule_key
from rl4bio.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".smi", ".smi.gz", ".txt", ".txt.gz")


@functools.lru_cache(maxsize=8)
def read_known(file: str, *, column: str = "smiles", canonical: bool = False) -> frozenset[int]:
    """The keys of all molecules of a file.

    Args:
        file: one of SUFFIXES; .csv has a header, the others a SMILES first on each line.
        column: of a .csv, upper and lower case alike.
        canonical: take the texts as they are, without reading each with RDKit.

    Raises:
        DataError: the file cannot be read, or a row holds no SMILES; names file and line.
    """
    path = Path(file)
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of file; needs one of {', '.join(SUFFIXES)}")
    is_table = path.name.lower().removesuffix(".gz").endswith(".csv")
    keys: set[int] = set()
    try:
        with _opened(path) as stream:
            rows = _table(path, stream, column) if is_table else _lines(stream)
            for line, text in rows:
                keys.add(molecule_key(text if canonical else _canonical(text, f"{path}:{line}")))
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); check the reward's file") from None
    if not keys:
        raise DataError(f"{path}:1: holds no molecule")
    return frozenset(keys)


def _opened(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _table(path: Path, stream: io.TextIOBase, column: str) -> Iterator[tuple[int, str]]:
    """Line and SMILES of each row of a CSV."""
    reader = csv.reader(stream)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if column.lower() not in header:
            raise DataError(
                f"{path}:1: no column {column!r}; it has {', '.join(header[:10]) or 'none'}; "
                "set the reward's column"
            )
        place = header.index(column.lower())
        for row in reader:
            if row:
                yield reader.line_num, row[place].strip() if place < len(row) else ""
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None


def _lines(stream: io.TextIOBase) -> Iterator[tuple[int, str]]:
    """Line and first word of each line that is not blank."""
    for number, line in zip(itertools.count(1), stream):
        if line.strip():
            yield number, line.split()[0]


def _canonical(text: str, place: str) -> str:
    molecule = read_smiles(text)
    if not molecule.valid:
        raise DataError(
            f"{place}: {text[:80]!r} is no SMILES ({molecule.reason}); repair or remove the row"
        )
    return molecule.canonical
