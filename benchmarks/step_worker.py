"""One trainer in a process of its own that takes a step whenever its parent says so.

    parent                     worker
    Worker(spec)        ->     sets up model and trainer, "ready"
    worker.step()       ->     one whole step, its Measured
    worker.stop()       ->     leaves

Both trainers run their own loop; a callback at the start of a step hands over to `Turns.ready`,
which reports the step before, then waits. A step is therefore everything between two starts: data,
rollout, rewards, reference, update, logging.

Memory is measured above what the process holds when model, data and trainer stand, before the first
step, so optimiser states count: on a CPU the resident set, whose peak is reset before each step (in
Linux's /proc), on a GPU what torch has allocated.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.step_spec import Finished, Measured, StepSpec, Turns


class Worker:
    """The parent's side of one process.

    Raises:
        RuntimeError: the process ended instead of answering; with the end of its output.
    """

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec
        Path(spec.workspace).mkdir(parents=True, exist_ok=True)
        self._log = Path(spec.workspace) / "worker.log"
        threads = str(spec.num_threads)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.step_worker", json.dumps(spec.__dict__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": threads,
                    "MKL_NUM_THREADS": threads,
                    "HF_HUB_OFFLINE": "1",
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
        self._receive()

    def step(self) -> Measured:
        """One step."""
        return Measured(**self._ask("step"))

    def profile(self, path: Path) -> Measured:
        """One step under the profiler, whose table goes to a file."""
        return Measured(**self._ask(f"profile {path}"))

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("stop\n")
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            end = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise RuntimeError(f"{self.spec.variant} ended with {self._process.returncode}:\n{end}")
        return json.loads(line)


def main() -> None:
    spec = StepSpec(**json.loads(sys.argv[1]))
    outbox = os.fdopen(os.dup(1), "w")  # what libraries print must not reach the parent
    os.dup2(2, 1)
    torch.set_num_threads(spec.num_threads)
    turns = Turns(sys.stdin, outbox, spec.device)
    if spec.variant.startswith("trl"):
        from benchmarks.trl_step import run
    else:
        from benchmarks.rl4bio_step import run
    with contextlib.suppress(Finished):
        run(spec, turns)


if __name__ == "__main__":
    main()
