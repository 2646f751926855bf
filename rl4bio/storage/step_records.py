"""The records of a run's steps: what a resumed run drops, and what a long run lets go of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rl4bio.storage.files import storage_errors, write_atomic

_FILE = re.compile(r"step-([0-9]+)\.jsonl")


def step_file(folder: Path, step: int) -> Path:
    """Where the completions of a step are written."""
    return folder / f"step-{step:06d}.jsonl"


def step_files(folder: Path) -> dict[int, Path]:
    """The recorded steps and their files, by rising step; empty where nothing was recorded."""
    if not folder.is_dir():
        return {}
    found = {int(m[1]): path for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))}
    return dict(sorted(found.items()))


def stays(step: int, newest: int, keep: int) -> bool:
    """Whether the record of a step is one of at most `keep` that stay.

    The newest half stays, and every second, fourth, eighth, ... of all steps, the first among them.
    What has gone stays gone at every later step, so a run that is killed and resumed ends with the
    same records as one that was not.

    Args:
        step: from 1.
        newest: the last step that was recorded.
        keep: at least 1; 0 = all.
    """
    even = keep // 2
    if not keep or newest <= keep or step > newest - (keep - even):
        return True
    stride = 1
    while even and (newest - 1) // stride + 1 > even:
        stride *= 2
    return even > 0 and (step - 1) % stride == 0


def keep_files(folder: Path, keeps: Callable[[int], bool]) -> None:
    """Remove the files of steps that are not to stay.

    Raises:
        StorageError: the folder cannot be read or written.
    """
    with storage_errors(folder):
        for step, path in step_files(folder).items():
            if not keeps(step):
                path.unlink(missing_ok=True)


def keep_rows(path: Path, keeps: Callable[[int], bool]) -> None:
    """Leave the header and the rows of steps that are to stay, in a table led by column `step`.

    A last line without its end, which a kill in the middle of a write leaves, goes as well. The
    file is read line by line and replaced in one piece; one that is right already is not touched.

    Raises:
        StorageError: the file cannot be read or written.
    """
    if not path.exists():
        return
    with storage_errors(path):
        lines = sum(1 for _ in _lines(path))
        kept = sum(1 for _ in _kept_lines(path, keeps))
        if kept < lines:
            write_atomic(path, _kept_lines(path, keeps))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from stream


def _kept_lines(path: Path, keeps: Callable[[int], bool]) -> Iterator[bytes]:
    for number, line in enumerate(_lines(path)):
        if not number:
            if not line.startswith(b"step,"):
                yield from _lines(path)  # nobody's table of steps
                return
            yield line
            continue
        step = line.partition(b",")[0]
        if line.endswith(b"\n") and step.isdigit() and keeps(int(step)):
            yield line
