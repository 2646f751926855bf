"""Real signals to real runs: the step is finished, saved, and the exit code is the first one's."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_faults.forks import Ended, differences, truth


def when(path: Path, *numbers: int, pause_s: float = 0.0) -> Callable[[int], None]:
    """Sends signals once a file is there."""

    def send(child: int) -> None:
        for _ in range(6000):
            if path.exists():
                break
            time.sleep(0.01)
        for number in numbers:
            os.kill(child, number)
            delivered(child, number)
            time.sleep(pause_s)

    return send


def delivered(process: int, number: int) -> None:
    """Until a signal is no longer pending: two that are have no order."""
    status_file = Path(f"/proc/{process}/status")
    for _ in range(6000):
        if not status_file.exists():  # no Linux, or it has ended
            time.sleep(0.05)
            return
        status = status_file.read_text()
        pending = re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", status)
        if not any(int(mask, 16) >> (number - 1) & 1 for mask in pending):
            return
        time.sleep(0.001)


def hold(tmp_path: Path, hook: str, seconds: float) -> dict[str, str]:
    """Variables that have the run wait in a hook."""
    (tmp_path / "waiting").unlink(missing_ok=True)
    return {"WAIT_IN": hook, "WAIT_S": str(seconds), "WAITING": str(tmp_path / "waiting")}


def test_at_any_time(
    fit: Callable[..., Ended], whole: dict[str, object], tmp_path: Path, rng: random.Random
) -> None:
    """Loading included. Resumed until it is finished, the run is the whole one."""
    number = rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])

    def send(child: int) -> None:
        time.sleep(rng.uniform(0.05, 3.0))
        os.kill(child, number)

    ended = fit("name=parts", signals=send)
    assert ended.code in (0, 128 + number), ended.err
    assert "Traceback" not in ended.err
    if ended.code:
        assert fit("name=parts", "--resume").code == 0
    assert differences(whole, truth(tmp_path / "runs" / "parts")) == []


def test_many_signals_are_one(
    fit: Callable[..., Ended], whole: dict[str, object], tmp_path: Path
) -> None:
    """Of several kinds, within a second, while a step is under way."""
    environment = hold(tmp_path, "on_train_batch_start", 1.0)
    many = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM]
    send = when(tmp_path / "waiting", *many)
    ended = fit("name=parts", signals=send, environment=environment)
    assert ended.code == 143, ended.err
    assert "stopped after step 3; continue with: " in ended.err
    assert fit("name=parts", "--resume").code == 0
    assert differences(whole, truth(tmp_path / "runs" / "parts")) == []


def test_in_a_validation_it_stops_at_once_and_validates_later(
    fit: Callable[..., Ended], whole: dict[str, object], tmp_path: Path
) -> None:
    environment = hold(tmp_path, "on_validation_start", 1000)
    send = when(tmp_path / "waiting", signal.SIGTERM)
    ended = fit("name=parts", signals=send, environment=environment)
    assert ended.code == 143, ended.err
    assert ended.seconds < 10
    assert "stopped after step 2; continue with: " in ended.err
    assert fit("name=parts", "--resume").code == 0
    assert differences(whole, truth(tmp_path / "runs" / "parts")) == []


@pytest.mark.parametrize("end", ["second signal", "deadline"])
def test_a_step_that_does_not_end(
    fit: Callable[..., Ended], whole: dict[str, object], tmp_path: Path, end: str
) -> None:
    environment = hold(tmp_path, "on_train_batch_start", 1000)
    numbers = [signal.SIGUSR1, signal.SIGTERM] if end == "second signal" else [signal.SIGUSR1]
    send = when(tmp_path / "waiting", *numbers, pause_s=1.2)
    deadline = "trainer.stop_deadline_s=3" if end == "deadline" else "trainer.stop_deadline_s=0"
    ended = fit("name=parts", deadline, signals=send, environment=environment)
    assert ended.code == 128 + signal.SIGUSR1, ended.err
    assert ended.seconds < 10
    assert "stopped after step 2; continue with: " in ended.err
    if end == "deadline":
        assert fit("name=parts", "--resume").code == 0
        assert differences(whole, truth(tmp_path / "runs" / "parts")) == []


@pytest.mark.parametrize(("works", "array"), [(True, True), (False, False)])
def test_slurm_takes_its_time_away(
    fit: Callable[..., Ended], tmp_path: Path, works: bool, array: bool
) -> None:
    """SIGUSR1 under SLURM: saved, queued again by `scontrol`; started again, it goes on."""
    said = tmp_path / "said"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    end = "exit 0" if works else "echo 'Invalid job id' >&2; exit 1"
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n{end}\n')
    program.chmod(0o755)
    slurm = {"PATH": f"{program.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}
    if array:
        slurm |= {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "3"}
    send = when(tmp_path / "waiting", signal.SIGUSR1)
    environment = slurm | hold(tmp_path, "on_train_batch_start", 0.5)
    ended = fit("name=parts", signals=send, environment=environment)
    assert ended.code == 128 + signal.SIGUSR1, ended.err
    job = "99_3" if array else "4711"
    assert said.read_text() == f"requeue {job}\n"
    if works:
        assert f"SLURM job {job} is queued again" in ended.err
    else:
        assert f"could not be queued again (Invalid job id); give `scontrol requeue {job}`" in (
            ended.err
        )
    assert "continue with: rl4bio fit" in ended.err
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    if not works:
        return
    again = fit("name=parts", environment=slurm | {"SLURM_RESTART_COUNT": "1"})
    assert again.code == 0, again.err
    assert "resuming from step 3" in again.out
