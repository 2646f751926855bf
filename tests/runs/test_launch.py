"""Which process of which run this is: every launcher, and what is refused."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from rl4bio.errors import ConfigError
from rl4bio.runs.launch import Launch, plan_launch
from rl4bio.runs.launchers import STARTED_BY, process_rank
from rl4bio.sections.run import TrainerConfig


def torchrun(rank: int, world: int, local_world: int | None = None, **more: str) -> dict[str, str]:
    local_world = local_world or world
    return {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank % local_world),
        "LOCAL_WORLD_SIZE": str(local_world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        **more,
    }


def srun(rank: int, tasks: int, nodes: int = 1, **more: str) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % (tasks // nodes)),
        **more,
    }


def openmpi(rank: int, world: int, **more: str) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_SIZE": str(world),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(world),
        **more,
    }


def mpich(rank: int, world: int, local_world: int) -> dict[str, str]:
    return {
        "PMI_RANK": str(rank),
        "PMI_SIZE": str(world),
        "MPI_LOCALRANKID": str(rank % local_world),
        "MPI_LOCALNRANKS": str(local_world),
    }


PLACE = {"MASTER_ADDR": "a", "MASTER_PORT": "1"}
ONE_CARD = {"CUDA_VISIBLE_DEVICES": "3"}
OURS = {STARTED_BY: str(os.getppid())}
SHELL = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "anything", "SLURM_NTASKS": "4"}  # of salloc
BY_HAND = {"RANK": "1", "WORLD_SIZE": "2", **PLACE}  # as some clusters' own scripts do
ONE = {"RANK": "0", "WORLD_SIZE": "1", **PLACE}  # left over in many a shell
# section, environment, cards: launcher, accelerator, devices, nodes, rank, local, node
PLANS: list[tuple[dict[str, Any], dict[str, str], int, tuple[Any, ...]]] = [
    ({}, {}, 0, ("none", "cpu", 1, 1, 0, 0, 0)),
    ({}, {}, 1, ("none", "gpu", 1, 1, 0, 0, 0)),
    ({}, {}, 4, ("lightning", "gpu", 4, 1, 0, 0, 0)),
    ({"devices": "1"}, {}, 4, ("none", "gpu", 1, 1, 0, 0, 0)),
    ({"accelerator": "cpu"}, {}, 4, ("none", "cpu", 1, 1, 0, 0, 0)),
    ({"devices": "2"}, {}, 0, ("lightning", "cpu", 2, 1, 0, 0, 0)),
    ({"devices": "2"}, {"LOCAL_RANK": "1", **OURS}, 0, ("lightning", "cpu", 2, 1, 1, 1, 0)),
    (
        {"num_nodes": 2},
        {"NODE_RANK": "1", "LOCAL_RANK": "2", **PLACE, **OURS},
        4,
        ("lightning", "gpu", 4, 2, 6, 2, 1),
    ),
    ({}, torchrun(1, 2), 0, ("torchrun", "cpu", 2, 1, 1, 1, 0)),
    ({"devices": "2"}, torchrun(1, 2), 0, ("torchrun", "cpu", 2, 1, 1, 1, 0)),
    ({}, torchrun(1, 2), 4, ("torchrun", "gpu", 2, 1, 1, 1, 0)),
    ({}, torchrun(5, 8, 4), 4, ("torchrun", "gpu", 4, 2, 5, 1, 1)),
    ({"num_nodes": 2}, torchrun(5, 8, 4), 4, ("torchrun", "gpu", 4, 2, 5, 1, 1)),
    ({}, torchrun(3, 4, **ONE_CARD), 1, ("torchrun", "gpu", 1, 4, 3, 0, 3)),
    ({}, torchrun(0, 1), 1, ("torchrun", "gpu", 1, 1, 0, 0, 0)),
    ({}, srun(3, 4), 4, ("slurm", "gpu", 4, 1, 3, 3, 0)),
    ({}, srun(3, 4, **ONE_CARD), 1, ("slurm", "gpu", 1, 4, 3, 0, 3)),
    ({}, srun(5, 8, 2), 4, ("slurm", "gpu", 4, 2, 5, 1, 1)),
    ({}, srun(1, 2), 0, ("slurm", "cpu", 2, 1, 1, 1, 0)),
    ({}, srun(0, 1), 4, ("lightning", "gpu", 4, 1, 0, 0, 0)),  # one task, four cards: all of them
    ({}, {"SLURM_NTASKS": "1"}, 4, ("lightning", "gpu", 4, 1, 0, 0, 0)),
    ({}, SHELL, 1, ("none", "gpu", 1, 1, 0, 0, 0)),
    ({}, srun(2, 4, 2, SLURM_NODEID="0", SLURM_LOCALID="1"), 2, ("slurm", "gpu", 2, 2, 2, 1, 0)),
    ({}, srun(1, 2, **ONE), 0, ("slurm", "cpu", 2, 1, 1, 1, 0)),
    ({}, srun(1, 2, WORLD_SIZE="2", **PLACE), 0, ("slurm", "cpu", 2, 1, 1, 1, 0)),
    ({}, srun(1, 2, PMI_RANK="1", PMI_SIZE="2"), 0, ("slurm", "cpu", 2, 1, 1, 1, 0)),
    ({}, {**srun(1, 2, 2), **torchrun(3, 4, 2)}, 2, ("torchrun", "gpu", 2, 2, 3, 1, 1)),
    (
        {},
        {**SHELL, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},
        1,
        ("none", "gpu", 1, 1, 0, 0, 0),
    ),
    ({"devices": "2"}, ONE, 0, ("lightning", "cpu", 2, 1, 0, 0, 0)),
    ({}, {"LOCAL_RANK": "0", "MASTER_ADDR": "old"}, 1, ("none", "gpu", 1, 1, 0, 0, 0)),
    ({}, {"NODE_RANK": "0"}, 1, ("none", "gpu", 1, 1, 0, 0, 0)),
    ({}, BY_HAND, 1, ("torchrun", "gpu", 1, 2, 1, 0, 1)),
    ({}, BY_HAND, 0, ("torchrun", "cpu", 1, 2, 1, 0, 1)),
    ({"devices": "2"}, BY_HAND, 2, ("torchrun", "gpu", 2, 1, 1, 1, 0)),
    ({}, {**BY_HAND, "LOCAL_RANK": "1"}, 2, ("torchrun", "gpu", 2, 1, 1, 1, 0)),
    ({"num_nodes": 2}, {**BY_HAND, "LOCAL_RANK": "0"}, 2, ("torchrun", "gpu", 1, 2, 1, 0, 1)),
    ({}, {**mpich(3, 4, 2), **PLACE}, 2, ("mpi", "gpu", 2, 2, 3, 1, 1)),
    ({}, openmpi(1, 2, **PLACE), 2, ("mpi", "gpu", 2, 1, 1, 1, 0)),
    ({}, openmpi(0, 1), 0, ("none", "cpu", 1, 1, 0, 0, 0)),
]


@pytest.mark.parametrize(("section", "environment", "cards", "expected"), PLANS)
def test_the_plan(
    section: dict[str, Any], environment: dict[str, str], cards: int, expected: tuple[Any, ...]
) -> None:
    launcher, accelerator, devices, nodes, rank, local, node = expected
    found = plan_launch(TrainerConfig(**section), environment, cards=cards)
    assert found == Launch(
        launcher=launcher,
        accelerator=accelerator,
        devices=devices,
        nodes=nodes,
        rank=rank,
        local_rank=local,
        node_rank=node,
    )
    assert (process_rank(environment) == 0) is (rank == 0)
    assert found.describe()


@pytest.mark.parametrize(
    ("section", "environment", "cards", "message"),
    [
        ({"devices": "4"}, torchrun(0, 2), 4, "trainer.devices: got 4, but torchrun has started 2"),
        ({"num_nodes": 3}, torchrun(0, 4, 2), 2, "trainer.num_nodes: got 3"),
        ({}, torchrun(0, 4), 2, "4 processes on this machine, which has 2 GPUs"),
        ({}, torchrun(0, 4), 1, "4 processes on this machine, which has 1 GPUs"),
        ({}, torchrun(0, 5, 2), 0, "start as many on each machine"),
        ({}, SHELL | {"SLURM_PROCID": "0"}, 2, "put srun in front"),
        ({}, SHELL | {"ENVIRONMENT": "BATCH"}, 2, "put srun in front"),
        ({}, srun(0, 4, 2, SLURM_STEP_TASKS_PER_NODE="3,1"), 2, "--ntasks-per-node"),
        ({}, BY_HAND, 4, "set LOCAL_RANK and LOCAL_WORLD_SIZE"),
        ({}, {"RANK": "1"}, 2, "RANK=1 in the environment without WORLD_SIZE, MASTER_ADDR, MASTER"),
        ({}, {"LOCAL_RANK": "3"}, 2, "LOCAL_RANK=3 .* unset LOCAL_RANK for a single process"),
        ({}, {"WORLD_SIZE": "4"}, 2, "WORLD_SIZE=4 in the environment without RANK"),
        ({}, {"RANK": "1", "WORLD_SIZE": "2"}, 2, "without MASTER_ADDR, MASTER_PORT"),
        ({}, {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, 2, "without MASTER_PORT"),
        ({}, torchrun(2, 2), 2, "calls this process 2 of 2"),
        ({}, torchrun(0, 2, LOCAL_RANK="2"), 2, "2 of 2 on its machine"),
        ({}, torchrun(0, 2, LOCAL_RANK="-1"), 2, "-1 of 2 on its machine"),
        ({}, torchrun(0, 2, LOCAL_WORLD_SIZE="0"), 2, "0 of 0 on its machine"),
        ({}, {**BY_HAND, "LOCAL_RANK": "7"}, 8, "7 of 2 on its machine"),
        ({}, srun(0, 2, SLURM_LOCALID="2"), 2, "2 of 2 on its machine"),
        ({}, srun(1, 4, RANK="0", WORLD_SIZE="2", **PLACE), 4, "slurm calls this process 1 of 4"),
        ({}, mpich(1, 2, 2), 2, "MASTER_ADDR and MASTER_PORT"),
        ({"num_nodes": 2}, {"NODE_RANK": "1", "MASTER_ADDR": "a"}, 2, "MASTER_PORT on each"),
        ({}, srun(0, 3, 1, SLURM_STEP_NUM_NODES="2"), 2, "--ntasks-per-node"),
        ({}, openmpi(0, 2), 2, "MASTER_ADDR and MASTER_PORT"),
        ({}, srun(0, 2, SLURM_PROCID="x"), 2, "SLURM_PROCID is 'x'"),
        ({"num_nodes": 2}, {}, 2, "NODE_RANK"),
        ({"num_nodes": 2}, {"NODE_RANK": "2", **PLACE}, 2, "NODE_RANK is 2"),
        ({"devices": "8"}, {}, 4, "got 8, but there are 4 GPUs"),
        ({"accelerator": "gpu"}, {}, 0, "finds none here"),
        ({"accelerator": "mps"}, {}, 0, "no Apple GPU"),
        ({"accelerator": "cpu", "devices": "3"}, torchrun(0, 2), 4, "torchrun has started 2"),
    ],
)
def test_what_is_refused(
    section: dict[str, Any], environment: dict[str, str], cards: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_launch(TrainerConfig(**section), environment, cards=cards)


@pytest.mark.parametrize("cards", [0, 1, 4])
def test_the_ranks_of_a_run_are_each_there_once(cards: int) -> None:
    """Whatever they see: as many processes as were started, one of them the first."""
    for (start, more), (nodes, each) in itertools.product(
        ((torchrun, {}), (srun, {})), ((1, 2), (1, 4), (2, 4))
    ):
        world = nodes * each
        seen = ONE_CARD if cards == 1 else more
        if cards == 4 and each > 4:
            continue
        plans = []
        for rank in range(world):
            environment = (
                torchrun(rank, world, each, **seen)
                if start is torchrun
                else srun(rank, world, nodes, **seen)
            )
            plans.append(plan_launch(TrainerConfig(), environment, cards=cards))
        assert [plan.rank for plan in plans] == list(range(world))
        assert {plan.world for plan in plans} == {world}
        assert sum(plan.rank == 0 for plan in plans) == 1
        assert all(plan.local_rank < max(plan.devices, 1) for plan in plans)
