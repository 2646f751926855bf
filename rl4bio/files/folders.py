"""Folders as people have them: saved datasets, the Hub's cache, copies of a repository.

What `Dataset.save_to_disk` writes is read with `datasets`. Files that describe a data set, and
hidden ones, are no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl4bio.errors import DataError
from rl4bio.files.columnar import name_classes
from rl4bio.files.rows import SUFFIXES, Row, kind_of

_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


def find_folder(path: Path) -> Path:
    """The folder that holds the data: of the Hub's cache (datasets--owner--name) its snapshot.

    Raises:
        DataError: the cache holds no snapshot, or several without a name for the newest.
    """
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    main = path / "refs" / "main"
    if main.is_file() and (snapshots / main.read_text("utf-8").strip()).is_dir():
        return snapshots / main.read_text("utf-8").strip()
    found = sorted(entry for entry in snapshots.iterdir() if entry.is_dir())
    if len(found) != 1:
        raise DataError(
            f"{path}: the Hub's cache with {len(found)} snapshots; give the folder of one"
        )
    return found[0]


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that may hold rows, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if kind_of(path) in SUFFIXES and path.name not in _ABOUT and not path.name.startswith(".")
    )


def is_saved(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` of a Dataset or a DatasetDict wrote."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def read_saved(folder: Path) -> list[Row]:
    """The rows of a saved data set, of all its splits; their places are folder[split]:row n.

    Raises:
        DataError: it does not read.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    # Damaged, cut off or of another version: whatever comes out of the reader.
    except Exception as error:
        reason = " ".join(str(error).partition("\n")[0].split())[:200]
        raise DataError(
            f"{folder}: a saved dataset that does not read ({type(error).__name__}: {reason}); "
            "save it again, or write it with to_parquet and give that file"
        ) from None
    whole = loaded if isinstance(loaded, Mapping) else {"": loaded}
    return dataset_rows(
        {f"{folder}[{split}]" if split else str(folder): table for split, table in whole.items()}
    )


def dataset_rows(tables: Mapping[str, Any]) -> list[Row]:
    """The rows of tables of `datasets`, whose numbered classes get their names.

    Args:
        tables: place of each, of which rows are `place:row n`.
    """
    return [
        Row(fields=name_classes(fields, table.features.to_dict()), place=f"{place}:row {number}")
        for place, table in tables.items()
        for number, fields in enumerate(table.with_format(None), start=1)
    ]


def read_one_table(folder: Path) -> list[Row]:
    """The rows of a saved data set of one split, for corpora that take one table.

    Raises:
        DataError: it is another kind of folder, or has several splits.
    """
    if not is_saved(folder):
        names = ", ".join(path.name for path in data_files(folder)[:5]) or "none with data"
        raise DataError(f"{folder}: is a folder; give one of its files ({names})")
    rows = read_saved(folder)
    splits = sorted({row.place.rpartition(":row ")[0] for row in rows})
    if len(splits) > 1:
        names = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
        raise DataError(
            f"{folder}: a saved dataset of the splits {names}; give the folder of one of them"
        )
    return rows
