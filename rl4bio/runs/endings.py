"""What a run says at its end: how it goes on, and what people do with it next."""

from __future__ import annotations

import logging
import shlex
import sys
from typing import TYPE_CHECKING

from rl4bio.runs.slurm import requeue
from rl4bio.storage import RunFolder

if TYPE_CHECKING:
    from rl4bio.callbacks.checkpoint import RunCheckpoint

log = logging.getLogger("rl4bio")


def say_stopped(checkpoint: RunCheckpoint, again: str, number: int) -> None:
    """Queue the job again where SLURM wants it so; how the run goes on."""
    if said := requeue(number):
        log.info("%s", said)
        print(said, file=sys.stderr)
    if checkpoint.saved_step:
        say_where(f"stopped after step {checkpoint.saved_step}", again)


def say_where(what: str, again: str) -> None:
    """How an unfinished run goes on."""
    line = f"{what}; continue with: rl4bio fit {again}"
    log.info("%s", line)
    print(line, file=sys.stderr)


def next_commands(folder: RunFolder, *, molecules: bool) -> str:
    """What people do with a finished run, ready to be copied."""
    run = shlex.quote(str(folder.root))
    target = shlex.quote(f"{folder.root}-merged")
    found = [f"evaluate --run {run}", f"generate --run {run}{' --num 100' * molecules}"]
    if not molecules:
        found[1] += " --chat"
    if folder.adapter.is_dir():
        found.append(f"export --run {run} --output {target}")
    return "next: " + "\n      ".join(f"rl4bio {command}" for command in found)
