"""Rows of Parquet and Arrow files, with the names of classes that `datasets` keeps as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl4bio.errors import DataError
from rl4bio.files.text_files import read_bytes


def read_columnar(path: Path) -> list[dict[str, Any]]:
    """The rows of a .parquet file, or of an .arrow file (the cache of `datasets`, or Feather).

    Raises:
        DataError: the file is missing, empty or damaged.
    """
    data = read_bytes(path)  # says what is wrong with a pointer, a web page or an empty file
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    parquets = path.suffix.lower() == ".parquet"
    try:
        if parquets:
            table = parquet.read_table(path)
        elif data.startswith(b"ARROW1"):
            table = arrow.ipc.open_file(data).read_all()
        else:
            table = arrow.ipc.open_stream(data).read_all()
        rows = table.to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        kind, reason = "Parquet" if parquets else "Arrow", str(error).partition("\n")[0]
        raise DataError(
            f"{path}:1: not a readable {kind} file ({reason}); fetch it again"
        ) from None
    features = _features(table.schema.metadata or {})
    return [name_classes(fields, features) for fields in rows]


def name_classes(fields: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose numbered classes are their names; a number below 0 (no label) stays.

    Args:
        fields: of the row.
        features: column -> what `datasets` says of it ({_type: ClassLabel, names: [...]}).
    """
    named = dict(fields)
    for column, feature in features.items():
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
            number, names = named.get(column), feature.get("names") or []
            if isinstance(number, int) and 0 <= number < len(names):
                named[column] = names[number]
    return named


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What `datasets` wrote of the columns into a file's schema; {} for other programs' files."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
