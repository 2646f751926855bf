"""Cells between commas, semicolons or tabs: read with the line of each row, and written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rl4bio.errors import DataError, StorageError
from rl4bio.storage.files import storage_errors


def delimited_rows(
    path: Path, text: str, delimiter: str, *, skipped: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """The line that each row begins in, and its cells; blank lines are rows without any.

    Args:
        path: of the file, for messages.
        text: its content.
        delimiter: between two cells.
        skipped: lines of the file before the text.

    Raises:
        DataError: a quote is not closed, or closed too early.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = skipped + 1
    try:
        for cells in reader:
            yield line, cells
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{skipped + reader.line_num}: not CSV ({error}); correct the quotes there"
        ) from None


def check_width(place: str, cells: Sequence[str], width: int, delimiter: str) -> None:
    """Raise a DataError unless a row has as many cells as the header."""
    if len(cells) != width:
        raise DataError(
            f"{place}: {len(cells)} columns, the header has {width}; a cell with "
            f"{delimiter!r} in it needs double quotes"
        )


def csv_text(rows: Iterable[Iterable[object]], *, quote_all: bool = False) -> str:
    """Rows as lines of a CSV file."""
    stream = io.StringIO(newline="")
    csv.writer(
        stream,
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
        lineterminator="\n",
    ).writerows(rows)
    return stream.getvalue()


def written_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a CSV file of a run, without a last line that a kill has cut.

    No cell of such a file holds a line end.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with storage_errors(path):
            text = path.read_text(encoding="utf-8")
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        rows = list(reader)
    except (ValueError, csv.Error) as error:
        raise StorageError(f"{path}: is damaged ({error}); move it away") from None
    return list(reader.fieldnames or []), rows
