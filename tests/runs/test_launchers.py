"""Surroundings that are not what they seem, and commands that run in one process."""

from __future__ import annotations

import argparse
import os
from typing import Any

import pytest

from rl4bio import affinity, compare, convert, dashboard, evaluate, export, generate, init, score
from rl4bio.errors import ConfigError
from rl4bio.runs import launchers
from rl4bio.runs.launch import plan_launch
from rl4bio.runs.launchers import STARTED_BY, find_task, process_rank, settle, without_launcher
from rl4bio.sections.run import TrainerConfig
from tests.runs.test_launch import PLACE, SHELL, openmpi, srun, torchrun


@pytest.mark.parametrize(
    "left",
    [
        {"LOCAL_RANK": "0"},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", **PLACE},
        {"NODE_RANK": "1"},
        {"GROUP_RANK": "1"},
        {**PLACE},
        {"LOCAL_RANK": "0", "WORLD_SIZE": "1", STARTED_BY: "1"},
    ],
)
def test_what_another_run_has_left_is_forgotten(left: dict[str, str]) -> None:
    """Also by Lightning, which reads the same variables."""
    found = {"HOME": "x", **left}
    assert settle(found, num_nodes=1) is None
    assert set(found) <= {"HOME", STARTED_BY}
    assert process_rank(found) == 0


def test_where_the_machines_meet_is_kept() -> None:
    found = {"NODE_RANK": "1", "RANK": "0", **PLACE}
    assert settle(found, num_nodes=2) is None
    assert found == {"NODE_RANK": "1", **PLACE}
    assert process_rank(found) == 1


@pytest.mark.parametrize("own", [os.getpid(), os.getppid()], ids=["its own", "its parent"])
def test_a_process_that_lightning_has_started_knows_its_number(own: int) -> None:
    """Its parent has the same variables, with number 0."""
    found = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0", **PLACE, STARTED_BY: str(own)}
    before = dict(found)
    assert settle(found, num_nodes=1) is None
    assert found == before
    assert process_rank(found) == 1


def test_a_command_that_a_rank_starts_is_no_rank() -> None:
    """It inherits the variables of the rank, whose child the launcher's child is not."""
    found = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", STARTED_BY: "1", **PLACE}
    with pytest.raises(ConfigError, match="WORLD_SIZE=2"):
        find_task(found)
    for told in (found, torchrun(1, 2), srun(1, 2), openmpi(1, 2, **PLACE)):
        assert find_task(without_launcher({"HOME": "x", **told})) is None


@pytest.mark.parametrize("typed", [True, False])
def test_a_shell_of_srun_is_no_task(typed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """srun --ntasks=4 --pty bash has four shells, of which one is typed into."""
    monkeypatch.setattr(launchers, "at_terminal", lambda: typed)
    found = find_task(srun(0, 4, SLURM_PTY_PORT="40000"))
    assert (found is None) is typed


def test_a_shell_of_salloc_is_one_process_and_a_script_is_refused() -> None:
    assert settle(dict(SHELL), num_nodes=1) is None
    with pytest.raises(ConfigError, match="put srun in front of rl4bio"):
        settle({**SHELL, "SLURM_PROCID": "0"}, num_nodes=1)


COMMANDS = (affinity, compare, convert, dashboard, evaluate, export, generate, init, score)


@pytest.mark.parametrize("started", [torchrun(1, 2), srun(0, 2), openmpi(1, 2, **PLACE)])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda module: module.__name__)
def test_what_runs_in_one_process_is_refused_in_several(
    command: Any,
    started: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each of them would write the same files; whatever else is wrong comes later."""
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    arguments = {affinity: ["--data", "x", "--label", "x", "--output", "x"], compare: ["x", "y"]}
    arguments |= {convert: ["x", "--vocab", "x", "--output", "x"]}
    arguments |= {export: ["--run", "x", "--output", "x"], init: ["molecules"]}
    arguments |= {evaluate: ["--config", "x"], generate: ["--model", "x"], dashboard: []}
    arguments |= {score: ["--config", "x", "--completions", "x", "--output", "x"]}
    code = command.main(arguments[command])
    said = capsys.readouterr().err
    assert "runs in one process, and" in said, said
    assert code == 2


def test_one_process_of_a_launcher_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in torchrun(0, 1).items():
        monkeypatch.setenv(name, value)
    ran = launchers.alone(lambda _: 5, "score")(argparse.Namespace())
    assert ran == 5


@pytest.mark.parametrize("devices", ["[1]", "-1", "0,", "0", "0,1", "two"])
def test_devices_are_a_number(devices: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer.devices: .*CUDA_VISIBLE_DEVICES=0,1 in front"):
        TrainerConfig(devices=devices)


def test_a_numbered_process_is_not_lost_in_the_plan() -> None:
    """Nobody's LOCAL_RANK makes no second process of a run."""
    plan = plan_launch(TrainerConfig(devices="2"), {"LOCAL_RANK": "0"}, cards=0)
    assert (plan.rank, plan.launcher) == (0, "lightning")
