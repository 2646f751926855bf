"""The recipes of docs/launch, run with stand-ins for the launchers, as two real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[1] / "docs" / "launch"
REPORT = """
import os, sys
from rl4bio.runs.launch import plan_launch
from rl4bio.sections.run import TrainerConfig
plan = plan_launch(TrainerConfig(accelerator="cpu"), os.environ, cards=0)
print(plan.launcher, plan.rank, plan.world, plan.nodes, *sys.argv[1:])
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do options+=" $1"; shift; done
[[ $options == *--kill-on-bad-exit=1* ]] || exit 9
for rank in 0 1; do
  SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=1 SLURM_PROCID=$rank \
    SLURM_LOCALID=$rank "$@"
done
"""
TORCHRUN = """#!/bin/bash
exec {python} -m torch.distributed.run "${{@/-m/--no-python}}"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of commands: srun, torchrun, and an rl4bio that says what it is part of."""
    commands = {
        "srun": SRUN,
        "rl4bio": f'#!/bin/bash\nexec {sys.executable} {tmp_path / "report.py"} "$@"\n',
        "torchrun": TORCHRUN.format(python=sys.executable),
    }
    (tmp_path / "report.py").write_text(REPORT)
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def lines(recipe: str, path: Path, **more: str) -> list[str]:
    environment = {
        **os.environ,
        "PATH": f"{path}:{os.environ['PATH']}",
        "PYTHONPATH": str(RECIPES.parents[1]),
        "PROCESSES": "2",
        **more,
    }
    found = subprocess.run(
        ["bash", str(RECIPES / recipe), "x.yaml", "name=a"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert found.returncode == 0, found.stderr
    return sorted(found.stdout.splitlines())


def test_one_node(path: Path) -> None:
    assert lines("one_node.sh", path) == [
        f"torchrun {rank} 2 1 fit x.yaml name=a" for rank in (0, 1)
    ]


def test_two_nodes(path: Path) -> None:
    """Both of them here: two machines with one process each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"FIRST": "127.0.0.1", "PORT": str(port), "PROCESSES": "1"}
    environment = {**os.environ, **where, "PATH": f"{path}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(RECIPES.parents[1])
    started = [
        subprocess.Popen(
            ["bash", str(RECIPES / "two_nodes.sh"), "x.yaml"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    found = sorted(one.communicate(timeout=90)[0].strip() for one in started)
    assert found == [f"torchrun {rank} 2 2 fit x.yaml" for rank in (0, 1)]


def test_slurm(path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "rl4bio", "SLURM_NTASKS": "2"}
    assert lines("slurm.sh", path, **job) == [
        f"slurm {rank} 2 1 fit x.yaml name=a" for rank in (0, 1)
    ]
