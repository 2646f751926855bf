"""Whole runs of `rl4bio fit` in processes of their own that start in no time.

The parent imports the libraries once and forks a child for each run, so that hundreds of runs can
be killed. A child is a real process: it is sent real signals, and what it leaves is on the disk.
"""

from __future__ import annotations

import contextlib
import csv
import gc
import importlib
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

AUDITED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
"""What a process does to files, as `sys.addaudithook` tells it; fsync and writes are added."""

LAUNCHERS = re.compile("SLURM|RANK|WORLD|MASTER|TORCHELASTIC|OMPI|PMI|NODE_|CUDA_VISIBLE")
"""Variables by which a process is told that it is one of several."""

_OURS = (
    *("fit", "runs.finish", "runs.memory", "runs.policies", "runs.preflight", "runs.ranks"),
    *("modules.grpo", "modules.sft", "modules.loading", "modules.saving", "data.module"),
    *("data.synthetic.trials", "data.smiles.corpus", "rewards.repeats", "rewards.combine"),
    *("rewards.molecules.properties", "reports.run.report", "reports.run.shown_molecules"),
    *("reports.molecules.front", "exports.cards", "engine.cpu.products", "answers.kinds"),
    *("chem.drawing", "chem.acceptance", "callbacks.checkpoint", "callbacks.completions"),
    *("callbacks.learning_check", "callbacks.loggers.build", "callbacks.molecule_monitor"),
    *("callbacks.molecule_pictures", "callbacks.progress", "callbacks.step_logging"),
)
Command = Callable[[Sequence[str]], int]

LIBRARIES = (
    *("lightning", "peft", "torch", "transformers", "omegaconf"),
    *(f"rl4bio.{name}" for name in _OURS),
)
"""What a run imports, in the parent once."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended."""

    code: int
    """As a shell shows it: 137 for a process that was killed."""
    out: str
    err: str
    operations: int
    """File operations in the run folder, where they were counted."""
    seconds: float
    """From the first signal, or from the start, to the end."""


def load_libraries() -> None:
    """Import what a run needs, so that children need not."""
    for name in LIBRARIES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # children need not look through a million objects of ours


def run(
    arguments: Sequence[str],
    logs: Path,
    *,
    kill_at: int = 0,
    count_in: Path | None = None,
    signals: Callable[[int], None] | None = None,
    environment: dict[str, str] | None = None,
    timeout_s: float = 120.0,
) -> Ended:
    """Run `rl4bio fit` with these arguments in a child.

    Args:
        arguments: of the command.
        logs: a folder for what it prints.
        kill_at: SIGKILL before so manieth file operation in `count_in`; 0 = never.
        count_in: the run folder whose operations are counted.
        signals: called with the child's number in the parent, to send what it likes.
        environment: more variables.
        timeout_s: then it is killed, and the test fails.
    """
    started = start(
        arguments, logs, kill_at=kill_at, count_in=count_in, environment=environment or {}
    )
    if signals is not None:
        signals(started.number)
        started = replace(started, since=time.monotonic())
    return wait(started, timeout_s)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A run under way."""

    number: int
    """Of its process."""
    logs: Path
    since: float


def start(
    arguments: Sequence[str],
    logs: Path,
    *,
    kill_at: int = 0,
    count_in: Path | None = None,
    environment: dict[str, str],
    command: Command | None = None,
) -> Started:
    """Fork a child that runs `rl4bio fit`, or another command; see `run`."""
    logs.mkdir(exist_ok=True, parents=True)
    out, err, count = (logs / name for name in ("out", "err", "count"))
    for path, text in ((out, ""), (err, ""), (count, "0")):
        path.write_text(text)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            _child(arguments, out, err, kill_at, count_in, count, environment, command)
        os._exit(99)
    return Started(number=child, logs=logs, since=time.monotonic())


def start_pair(
    arguments: Sequence[str], logs: Path, *, command: Command | None = None, **more: str
) -> list[Started]:
    """Two tasks of a SLURM step, as srun starts them."""
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", **more}
    job |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    job |= {"SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": free_port()}
    return [
        start(
            arguments,
            logs / f"rank{number}",
            command=command,
            environment=job | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)},
        )
        for number in (0, 1)
    ]


def wait_pair(runs: Sequence[Started], timeout_s: float = 120.0) -> list[Ended]:
    """Until both have ended; none is left running."""
    try:
        return [wait(run, timeout_s) for run in runs]
    except AssertionError:
        for run in runs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.number, signal.SIGKILL)
        raise


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def wait(run: Started, timeout_s: float = 120.0) -> Ended:
    """Until a run ends by itself; past the time it is killed, and the test fails."""
    out, err, count = (run.logs / name for name in ("out", "err", "count"))
    while True:
        ended, status = os.waitpid(run.number, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - run.since > timeout_s:
            os.kill(run.number, signal.SIGKILL)
            os.waitpid(run.number, 0)
            raise AssertionError(f"still running after {timeout_s:g} s: {err.read_text()[-3000:]}")
        time.sleep(0.02)
    code = os.waitstatus_to_exitcode(status)
    return Ended(
        code=128 - code if code < 0 else code,
        out=out.read_text(errors="replace"),
        err=err.read_text(errors="replace"),
        operations=int(count.read_text() or 0),
        seconds=time.monotonic() - run.since,
    )


def _child(
    arguments: Sequence[str],
    out: Path,
    err: Path,
    kill_at: int,
    count_in: Path | None,
    count: Path,
    environment: dict[str, str],
    command: Command | None,
) -> None:
    os.setsid()
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # pytest's own are in memory
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    for name in [name for name in os.environ if LAUNCHERS.match(name)]:
        del os.environ[name]
    os.environ.update(environment)
    from rl4bio.fit import main

    if count_in is not None:
        watch_files(count_in, kill_at, count)
    code = 1
    try:
        code = (command or main)(list(arguments))
    finally:
        if "rl4bio.runs.ranks" in sys.modules:
            sys.modules["rl4bio.runs.ranks"].leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watch_files(folder: Path, kill_at: int, count: Path) -> None:
    """Count what this process does to files of a folder, and kill it before one of them."""
    inside, done = str(folder), 0
    handle = os.open(count, os.O_WRONLY)

    def step() -> None:
        nonlocal done
        done += 1
        os.pwrite(handle, str(done).encode(), 0)
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[object, ...]) -> None:
        changes = event in AUDITED and not (event == "open" and _reads(args))
        if changes and args and str(args[0]).startswith(inside):
            step()

    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        real_fsync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)


def _reads(args: tuple[object, ...]) -> bool:
    flags = args[2] if len(args) > 2 and isinstance(args[2], int) else 0
    return not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def table(path: Path) -> list[dict[str, str]]:
    """metrics.csv without what the clock decides."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        rows = csv.DictReader(stream)
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def truth(folder: Path) -> dict[str, object]:
    """What a run says of itself: each byte that the clock does not decide."""
    found: dict[str, object] = {"metrics.csv": table(folder / "metrics.csv")}
    newest = max((folder / "checkpoints").glob("step-*"), default=None)
    files = sorted((folder / "completions").glob("*"))
    files += [folder / "molecules.csv", *sorted((folder / "adapter").glob("*.safetensors"))]
    files += sorted((folder / "model").glob("*.safetensors"))
    if newest is not None:
        found["newest"] = newest.name
        files += [newest / "weights.safetensors", newest / "optimizer.safetensors"]
    for path in files:
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """Names of what differs between two runs."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def seed() -> int:
    """Of everything that is drawn; RL4BIO_FAULT_SEED repeats a failure."""
    return int(os.environ.get("RL4BIO_FAULT_SEED", random.SystemRandom().randrange(10**6)))
