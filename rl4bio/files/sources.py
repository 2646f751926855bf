"""The rows behind what a configuration names: a file, a folder or a Hub id."""

from __future__ import annotations

from pathlib import Path

from rl4bio.errors import DataError
from rl4bio.files.folders import data_files, find_folder, is_saved, read_saved
from rl4bio.files.hub import read_hub_rows
from rl4bio.files.rows import SUFFIXES, Row, kind_of, read_rows


def find_rows(source: str, subset: str, revision: str | None = None) -> list[Row]:
    """The rows behind a file, a folder or a Hub id.

    Raises:
        DataError: there is no such thing; the message says what was looked for.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return read_rows(path)
    if path.is_dir():
        folder = find_folder(path)
        folder = folder / subset if (folder / subset).is_dir() else folder
        if is_saved(folder):
            return read_saved(folder)
        return [row for file in _data_files(folder) for row in read_rows(file)]
    plain = not source.startswith((".", "/", "~")) and kind_of(path) not in SUFFIXES
    if plain and source.count("/") == 1:
        return read_hub_rows(source, subset, revision)
    raise DataError(
        f"data.source: no file or folder at {path.absolute()}; download ori_pqal.json from "
        "https://github.com/pubmedqa/pubmedqa (folder data), or give a Hub id such as "
        "qiaojin/PubMedQA"
    )


def _data_files(folder: Path) -> list[Path]:
    """The files of a folder: the authors' file, or all of one kind."""
    authors = folder / "ori_pqal.json"
    if authors.is_file():
        return [authors]
    inner = next((d for d in (folder, folder / "data") if d.is_dir() and data_files(d)), folder)
    files = data_files(inner)
    kinds = {kind_of(path) for path in files}
    if len(kinds) == 1:
        return files
    found = f"has files of several kinds ({', '.join(sorted(kinds))})" if kinds else "has no file"
    raise DataError(
        f"data.source: folder {inner} {found}; give one file, or a folder with ori_pqal.json or "
        f"with files of one kind ({', '.join(SUFFIXES)})"
    )
