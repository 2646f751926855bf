"""A whole folder or none: built beside its place, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rl4bio.errors import StorageError
from rl4bio.storage.files import storage_errors, sync_file


def check_target(target: Path, *, force: bool, marker: str = "config.json") -> None:
    """Whether an output folder may be made.

    Args:
        target: the folder.
        force: whether a folder that holds `marker` may be replaced.
        marker: the file that says a folder is of the kind that is written.

    Raises:
        StorageError: it is a file, or not empty and may not be replaced.
    """
    with storage_errors(target):
        if target.exists() and not target.is_dir():
            raise StorageError(f"{target}: is a file; choose another --output")
        if not target.exists() or not any(target.iterdir()):
            return
    if not force:
        raise StorageError(f"{target}: exists; add --force to replace it, or choose another name")
    if not (target / marker).is_file():
        raise StorageError(
            f"{target}: --force replaces model folders alone, this one has no {marker}; "
            "choose another --output"
        )


@contextlib.contextmanager
def new_folder(target: Path, *, doubtful: Path | None = None) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` when the block ends without an error.

    A folder that is there is replaced whole; until then, and on an error, it stays as it was.

    Args:
        target: to be.
        doubtful: where the new folder goes when the block says by a StorageError that its content
            was written but does not read back; None removes it.

    Raises:
        StorageError: something cannot be written; or the block's own.
    """
    target = target.absolute()
    building = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    replaced = target.with_name(f".{target.name}.{os.getpid()}.old")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        building.mkdir()
        try:
            yield building
            for path in sorted(building.rglob("*")):
                sync_file(path)
            if target.exists():
                os.replace(target, replaced)
            os.replace(building, target)
        except BaseException as error:
            if doubtful is not None and isinstance(error, StorageError):
                shutil.rmtree(doubtful, ignore_errors=True)
                os.replace(building, doubtful)
                raise StorageError(f"{error}; what was written is kept in {doubtful}") from error
            shutil.rmtree(building, ignore_errors=True)
            if replaced.exists() and not target.exists():
                os.replace(replaced, target)
            raise
        sync_file(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
