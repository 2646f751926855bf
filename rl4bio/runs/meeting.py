"""What the processes of a run tell each other by the disk: that a folder or a file is there.

Imports no torch: a process that has not loaded it has joined no others.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from rl4bio.errors import RankError

JOIN = timedelta(minutes=10)
"""How long processes wait for all others to be there."""
SEEN_WITHIN_S = 60.0
"""After which a folder made on one machine must be seen on all."""
_MADE = "rl4bio/folder"


def folder_is_made() -> None:
    """Tell the other processes that the run's folder is there."""
    if (store := _store()) is not None:
        store.set(_MADE, "yes")


def wait_for_folder(file: Path) -> None:
    """Until the first process has made the run's folder.

    Args:
        file: in it.

    Raises:
        RankError: the first process has ended, or this machine does not see the folder.
    """
    if (store := _store()) is not None:
        try:
            store.wait([_MADE], JOIN)
        except RuntimeError as error:
            raise RankError(
                "the first process has ended before it began to train; its message says why"
            ) from error
    if not is_there_within(file, SEEN_WITHIN_S):
        raise RankError(
            f"{file.parent}: made by the first process, and not seen by this one; put "
            "output_dir where all machines see it"
        )


def is_there_within(file: Path, seconds: float) -> bool:
    """Whether a file is there, or comes to be so in time."""
    until = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _store() -> Any:
    """Where joined processes leave each other words; None where there are no others."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_initialized():
        return None
    return torch.distributed.distributed_c10d._get_default_store()
