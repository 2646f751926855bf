"""Where medical questions come from: files, folders and Hub ids, each with its published splits."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rl4bio.errors import DataError
from rl4bio.files.rows import SUFFIXES, Row
from rl4bio.files.sources import files_of_one_kind, find_rows

log = logging.getLogger("rl4bio")

ROLES = ("id", "question", "options", "label", "answer", "reasoning", "long_answer")
"""What a column can be; `MedicalSource.columns` maps them."""

_PLACE_SPLIT = re.compile(r"\[([^\[\]]*)\]:row \d+$")
_SPLIT_NAMES = {"train", "validation", "valid", "val", "dev", "test"}


@dataclass(kw_only=True)
class MedicalSource:
    """One file, folder or Hub data set: an entry of `sources` and of `test_sources`."""

    source: str
    """A .json, .jsonl, .csv or .parquet file, a folder of them or of `save_to_disk`, a Hub id."""
    subset: str = "default"
    """Configuration of a Hub data set ("en"), or sub-folder of its local copy."""
    split: str | None = None
    """Published split to take; needed where the data set has several."""
    revision: str | None = None
    """Commit or tag of a Hub data set; published sets have changed their rows."""
    kind: Literal["auto", "open", "choice"] = "auto"
    """Which question of a row that holds an open one and one with options; auto takes the open."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Column of each role (id, question, options, label, answer, reasoning, long_answer), for files
    whose columns are none of the known ones; options may be a list of columns, one an option."""
    label_base: int | None = None
    """What a numeric label of the first option is, 0 or 1; None reads it off the labels."""

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("source: is empty; give a file, a folder or a Hub id")
        if self.label_base not in (None, 0, 1):
            raise ValueError(f"label_base: got {self.label_base}, needs 0 or 1")
        for role, column in self.columns.items():
            if role not in ROLES:
                raise ValueError(f"columns: {role!r} is no role; known: {', '.join(ROLES)}")
            names = column if role == "options" and isinstance(column, list) else [column]
            if not names or not all(isinstance(name, str) and name for name in names):
                raise ValueError(f"columns: {role} is {column!r}, needs the name of a column")
        if self.columns and "question" not in self.columns:
            raise ValueError("columns: has no question; name its column")


def read_source(source: MedicalSource) -> list[Row]:
    """The rows of a source, of its `split` where it has several.

    Raises:
        DataError: there is no such thing, it does not read, or its split has to be named.
    """
    if source.split is not None and Path(source.source).expanduser().is_file():
        where = Path(source.source).expanduser()
        raise DataError(f"{where}: is one file, so split {source.split!r} takes nothing out")
    return find_rows(
        source.source,
        source.subset,
        source.revision,
        key="data.options.sources",
        files=functools.partial(_files, source=source),
        of_split=functools.partial(_of_split, source=source),
        advice=f"give a {', '.join(SUFFIXES)} file, a folder of them, or a Hub id such as "
        "FreedomIntelligence/medical-o1-reasoning-SFT",
    )


def _of_split(rows: Sequence[Row], source: MedicalSource) -> list[Row]:
    """The rows of one split of a data set; their places are `...[split]:row n`."""
    found = [_PLACE_SPLIT.search(row.place) for row in rows]
    splits = [match[1] if match else "" for match in found]
    wanted = _choose(sorted(set(splits)), source)
    return [row for row, split in zip(rows, splits, strict=True) if split == wanted]


def _files(folder: Path, source: MedicalSource) -> list[Path]:
    """The files of a split in a folder as it comes from the Hub."""
    inner = next((d for d in (folder / source.subset, folder / "data") if d.is_dir()), folder)
    if source.subset != "default" and inner != folder / source.subset:
        raise DataError(f"{folder}: has no sub-folder {source.subset!r}; give the subset's file")
    files = files_of_one_kind(inner)
    split_of = {file: _split_name(file) for file in files}
    if source.split is not None or len({*split_of.values()}) > 1:
        wanted = _choose(sorted({*split_of.values()}), source)
        files = [file for file in files if split_of[file] == wanted]
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        log.info("%s: %d files are one table: %s", inner, len(files), names)
    return files


def _split_name(file: Path) -> str:
    """The split in a file's name ("train-00000-of-00001"), or "" where it has none."""
    words = re.split(r"[^a-z]+", file.stem.lower())
    return next((word for word in words if word in _SPLIT_NAMES), "")


def _choose(splits: list[str], source: MedicalSource) -> str:
    """The split to take among those that there are."""
    named = ", ".join(split or "(none)" for split in splits)
    if source.split is not None and source.split not in splits:
        raise DataError(f"{source.source}: has no split {source.split!r}; it has {named}")
    if source.split is None and len(splits) > 1:
        raise DataError(
            f"{source.source}: has the splits {named}, and pooling them would train on the "
            "published test set; set split, and give the test split under test_sources"
        )
    return splits[0] if source.split is None else source.split
