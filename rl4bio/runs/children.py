"""A run, or another command, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess

from rl4bio.process.signals import Terminated
from rl4bio.runs.launchers import without_launcher


def start(command: list[str], group: str, *, alone: bool = False) -> int:
    """The exit code of a run; signals reach it, and it is waited for while it saves its state.

    Ctrl-C at a terminal reaches the run by itself too; two at once are one for it.

    Args:
        command: and its arguments.
        group: its name in W&B.
        alone: whether it is no part of what a launcher has started.
    """
    around = without_launcher(os.environ) if alone else dict(os.environ)
    run = subprocess.Popen(command, env={**around, "WANDB_RUN_GROUP": group})
    while True:
        try:
            code = run.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            run.send_signal(signal.SIGINT)
        except Terminated as error:
            run.send_signal(error.number)
