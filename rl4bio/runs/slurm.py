"""A run under SLURM: queued again when its time is up, taken up when it starts again."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from pathlib import Path

log = logging.getLogger("rl4bio")

_JOB = re.compile(r"\d+(_\d+)?")
_TIMEOUT_S = 30.0


def started_again() -> bool:
    """Whether this job was queued again, so that its command means to go on."""
    return os.environ.get("SLURM_RESTART_COUNT", "0").strip() not in ("", "0")


def requeue(number: int) -> str:
    """Queue the job again after SIGUSR1; what to tell the user, "" where it is not asked for.

    Args:
        number: the signal that stopped the run.
    """
    job = job_id()
    if number != signal.SIGUSR1 or not job:
        return ""
    try:
        if not _JOB.fullmatch(job):
            raise ValueError(f"{job[:40]!r} is no job number")
        done = subprocess.run(
            ["scontrol", "requeue", job],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        problem = "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if not problem:
        return f"SLURM job {job} is queued again and goes on by itself"
    return (
        f"SLURM job {job} could not be queued again ({problem[:200]}); give "
        f"`scontrol requeue {job}`, or submit the command below"
    )


def job_id() -> str:
    """The job of this process, with its place in an array; "" outside SLURM."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID", "")
    if array:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return os.environ.get("SLURM_JOB_ID", "")


def leave_out_foreign_checkpoints(root: Path) -> None:
    """Rename Lightning's own checkpoints in a run folder, which it would read by itself."""
    for path in root.glob("hpc_ckpt_*"):
        path.rename(path.with_name(f"not-used-{path.name}"))
        log.warning("%s: is no checkpoint of rl4bio and not read", path)
