"""Writes that leave the old file or the new one, never half of it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl4bio.errors import StorageError

_LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|old)")
"""How unfinished files and folders are named, with the number of their process."""


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a write to `path` into a StorageError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path}: cannot be written ({reason}); {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    """What to do about a write that the system refused."""
    elsewhere = "choose another place (output_dir, --output)"
    return {
        errno.ENOSPC: f"free space, or {elsewhere}",
        errno.EDQUOT: f"free space, or {elsewhere}",
        errno.ENOENT: f"make its folder first, or {elsewhere}",
        errno.ENOTDIR: f"a part of its path is a file: {elsewhere}",
        errno.EEXIST: f"a file has this name: {elsewhere}",
        errno.EISDIR: f"a folder has this name: {elsewhere}",
    }.get(error.errno or 0, elsewhere)


def sync_file(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Replace a file: a temporary file beside it, fsync, rename, fsync of the folder.

    Parts are written as they come.

    Raises:
        StorageError: the folder is missing or read-only, or the disk is full; the old file stays.
    """
    whole = data.encode() if isinstance(data, str) else data
    parts = [whole] if isinstance(whole, bytes) else whole
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            with temporary.open("wb") as stream:
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_file(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what writes that were killed have left; nobody else may be writing in the folder."""
    for path in folder.glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            with storage_errors(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, in one piece."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` has written: a mapping.

    Raises:
        StorageError: it is not there, or cannot be read.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"{path.name} holds no mapping")
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path.parent}: cannot be read ({error}); is it a whole run?"
        ) from error
    return found


def require_free_space(folder: Path, num_bytes: int) -> None:
    """Raise a StorageError where a folder's disk has less room than a run will need."""
    with storage_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise StorageError(
            f"{folder}: {free / 1e9:.2f} GB free, the run needs {num_bytes / 1e9:.2f} GB; free "
            "space, or choose another output_dir"
        )
