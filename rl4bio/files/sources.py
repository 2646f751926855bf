"""The rows behind what a configuration names: a file, a folder or a Hub id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rl4bio.errors import DataError
from rl4bio.files.folders import data_files, find_folder, is_saved, read_saved
from rl4bio.files.hub import read_hub_rows
from rl4bio.files.rows import SUFFIXES, Row, kind_of, read_rows


def find_rows(
    source: str,
    subset: str,
    revision: str | None = None,
    *,
    files: Callable[[Path], list[Path]],
    of_split: Callable[[list[Row]], list[Row]] = list,
    key: str,
    advice: str,
) -> list[Row]:
    """The rows behind a file, a folder or a Hub id.

    Args:
        source: what is named.
        subset: configuration of a Hub data set, or sub-folder of its local copy.
        revision: of a Hub data set.
        files: those of a folder to read.
        of_split: takes rows out of a data set that has splits.
        key: of the configuration, for messages.
        advice: what to give where there is no such thing.

    Raises:
        DataError: there is no such thing; the message says what was looked for.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return read_rows(path)
    if path.is_dir():
        folder = find_folder(path)
        saved = next((d for d in (folder / subset, folder) if is_saved(d)), None)
        if saved is not None:
            return of_split(read_saved(saved))
        return [row for file in files(folder) for row in read_rows(file)]
    plain = not source.startswith((".", "/", "~")) and kind_of(path) not in SUFFIXES
    if not plain or source.count("/") != 1:
        raise DataError(f"{key}: no file or folder at {path.absolute()}; {advice}")
    rows = read_hub_rows(source, subset, revision, key=key)
    if not rows:
        raise DataError(
            f"{source}/{subset}: the data set has no rows; name another subset or split"
        )
    return of_split(rows)


def files_of_one_kind(folder: Path, *, instead: str = "a folder") -> list[Path]:
    """The files of a folder that hold rows, by name.

    Args:
        instead: what to give beside one file, for the message.

    Raises:
        DataError: there is none, or they are of several kinds.
    """
    files = data_files(folder)
    kinds = sorted({kind_of(path) for path in files})
    if len(kinds) != 1:
        found = f"has files of several kinds ({', '.join(kinds)})" if kinds else "has no file"
        raise DataError(
            f"{folder}: {found}; give one file, or {instead} with files of one kind "
            f"({', '.join(SUFFIXES)})"
        )
    return files
