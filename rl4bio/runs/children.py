"""A run, or another command, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess

from rl4bio.process.signals import Terminated


def start(command: list[str], group: str) -> int:
    """The exit code of a run; signals reach it, and it is waited for while it saves its state.

    Ctrl-C at a terminal reaches the run by itself too; two at once are one for it.
    """
    run = subprocess.Popen(command, env={**os.environ, "WANDB_RUN_GROUP": group})
    while True:
        try:
            code = run.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            run.send_signal(signal.SIGINT)
        except Terminated as error:
            run.send_signal(error.number)
