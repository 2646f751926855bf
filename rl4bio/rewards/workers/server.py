"""The guest's side: imports a reward once and forks workers that score.

It speaks over two sockets: the first, from the command line, asks for workers; each worker has one
of its own. Requests are marshalled by us, answers are JSON, since what a guest says is not trusted.
Whatever a reward prints goes nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import marshal
import os
import random
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl4bio.errors import Rl4bioError
from rl4bio.files.plugin_file import import_file
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.checked import ExplainedError, checked_scores, failure, run_raw, run_reward
from rl4bio.rewards.workers import frames
from rl4bio.signals import ENDING
from rl4bio.types import Sample

TRACE_CHARACTERS = 4000


def main() -> None:
    """Build the reward that is asked for, then fork a worker for each request."""
    control = socket.socket(fileno=int(sys.argv[1]))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # the run decides when we end
    spec = marshal.loads(frames.receive(control))
    try:
        reward = build(spec)
    except (Exception, SystemExit) as error:
        kind = error.kind if isinstance(error, Rl4bioError) else ""
        text = str(error) if kind else f"{type(error).__name__}: {error}"
        frames.send(control, json.dumps({"error": text, "kind": kind}).encode())
        return
    frames.send(control, b"{}")
    with contextlib.suppress(frames.Gone, OSError):
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 9, 1)
            if not message:
                return
            if message[:1] == b"S":  # how a worker ended
                found = how(int.from_bytes(message[1:], "big"))
                frames.send(control, json.dumps({"how": found}).encode())
                continue
            worker = os.fork()
            if not worker:
                control.close()
                work(socket.socket(fileno=descriptors[0]), reward, spec)
                os._exit(0)
            os.close(descriptors[0])
            frames.send(control, json.dumps({"worker": worker}).encode())


def build(spec: dict[str, Any]) -> Reward:
    """The reward, made and prepared as the run would."""
    sys.path[:] = spec["path"]
    for module in spec["plugins"]:
        import_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
    reward = REWARDS.build(spec["name"], spec["options"], where=spec["where"])
    reward.prepare()
    return reward


def how(worker: int) -> str:
    """How a worker ended, in words."""
    for _ in range(50):
        with contextlib.suppress(ChildProcessError):
            found, status = os.waitpid(worker, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                return f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
        time.sleep(0.01)
    return "ended"


def work(connection: socket.socket, reward: Reward, spec: dict[str, Any]) -> None:
    """Answer requests until the run is gone."""
    os.setsid()
    for number in ENDING:  # schedulers send them to all; what the reward starts has its own way
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if spec["memory_bytes"]:
        resource.setrlimit(resource.RLIMIT_DATA, (spec["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    own, folder, environment = os.getpid(), os.getcwd(), dict(os.environ)

    def say(**message: Any) -> None:
        if os.getpid() != own:  # the reward has forked, and this is the copy
            os._exit(0)
        frames.send(connection, json.dumps(message).encode())

    with contextlib.suppress(frames.Gone):
        while True:
            request = marshal.loads(frames.receive(connection))
            os.chdir(folder)
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)
            seed(request["texts"])
            samples = [Sample(**sample) for sample in request["samples"]]
            answer(spec["name"], reward, request["texts"], samples, say, whole=request["whole"])


def seed(texts: list[str]) -> None:
    """What a reward draws depends on what it scores alone."""
    number = int.from_bytes(hashlib.blake2b(repr(texts).encode(), digest_size=4).digest(), "big")
    random.seed(number)
    for name, function in (("numpy", "random.seed"), ("torch", "manual_seed")):
        found: Any = sys.modules.get(name)
        for part in function.split(".") if found is not None else ():
            found = getattr(found, part)
        if found is not None:
            found(number)


def answer(
    name: str,
    reward: Reward,
    texts: list[str],
    samples: list[Sample],
    say: Callable[..., None],
    *,
    whole: bool,
) -> None:
    """Score a request: in one call where the reward wants the batch, else row by row."""
    if whole:
        try:
            values = run_reward(name, reward, texts, samples)
        except (Exception, SystemExit) as error:
            say(error=words(name, error, ""), trace=trace(error))
            return
        say(values=[plain(value) for value in values])
    else:
        for row, (text, sample) in enumerate(zip(texts, samples, strict=True)):
            try:
                (value,) = checked_scores(name, [reward.score(text, sample)], 1)
            except (Exception, SystemExit) as error:
                place = f"sample {sample.uid}, completion {text[:200]!r}"
                say(row=row, error=words(name, error, place), trace=trace(error))
                continue
            say(row=row, value=plain(value))
    try:
        raw = run_raw(name, reward, texts, samples)
    except (Exception, SystemExit) as error:
        say(error=words(name, error, "its raw values"), trace=trace(error))
        return
    say(raw={key: [plain(value) for value in values] for key, values in raw.items()})


def plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if value != value else value


def words(name: str, error: BaseException, place: str) -> str:
    """The message that the same error would have in the run's own process."""
    explained = isinstance(error, ExplainedError) or str(error).startswith(f"reward {name!r}")
    return str(error if explained else failure(name, error, place or "a batch"))


def trace(error: BaseException) -> str:
    """The end of a traceback, as the run's folder keeps it."""
    return "".join(traceback.format_exception(error))[-TRACE_CHARACTERS:]


if __name__ == "__main__":
    main()
