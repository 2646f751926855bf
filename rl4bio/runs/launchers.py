"""What a process's surroundings say of a launcher: torchrun, srun, MPI's, or none.

Variables that an earlier run, a job's script or a shell has left count for nothing where they leave
one process alone; where they contradict each other the run is refused in one line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Literal

from rl4bio.errors import ConfigError

Environment = Mapping[str, str]
Outside = Literal["torchrun", "slurm", "mpi"]

STARTED_BY = "RL4BIO_STARTED_BY"
"""Number of the process that has started the others of its machine, in their surroundings and its
own: LOCAL_RANK alone may be anybody's."""
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""Of a process, as torch's launchers write them."""
PLACE = ("MASTER_ADDR", "MASTER_PORT")
OPEN_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE",
     "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE",
     "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_LOCAL_SIZE"),
)  # fmt: skip
"""Rank, processes, and both on its machine, as MPI's launchers say them."""
HYDRA = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
"""The same of MPICH and Intel MPI; srun sets some of them as well."""


@dataclass(frozen=True, slots=True)
class Task:
    """This process as a launcher has numbered it."""

    launcher: Outside
    rank: int
    world: int
    local_rank: int | None = None
    """None where nothing says it."""
    local_world: int | None = None
    node_rank: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ConfigError(
                f"trainer.devices: {self.launcher} calls this process {self.rank} of {self.world}, "
                "numbered from 0; is it left over in the shell? start all with one launcher"
            )
        local, each = self.local_rank or 0, self.local_world
        if local < 0 or (each is not None and not local < each <= self.world):
            raise ConfigError(
                f"trainer.devices: {self.launcher} calls this process {local} of {each} on its "
                f"machine and {self.rank} of {self.world} in all; is it left over in the shell?"
            )


def find_task(environment: Environment) -> Task | None:
    """What a launcher says of this process; None where there is none, or it has started one.

    Raises:
        ConfigError: what is said is not whole, or contradicts itself.
    """
    if _is_ours(environment):
        return None
    others = _other_task(environment)
    if set(NUMBERS[:2]) <= environment.keys():
        return _torch_task(environment, others) or others
    if others is None:
        _refuse_half_numbers(environment)
    return others


def settle(environment: MutableMapping[str, str], *, num_nodes: int) -> Task | None:
    """Find the launcher, once, and take what an earlier one has left out of the surroundings.

    Args:
        environment: of this process; others of its kind inherit it.
        num_nodes: `trainer.num_nodes`.

    Raises:
        ConfigError: see `find_task` and `refuse_script`.
    """
    task = find_task(environment)
    if task is None and not _is_ours(environment):
        refuse_script(environment)
        left = (*NUMBERS, "GROUP_RANK", *(() if num_nodes > 1 else (*PLACE, "NODE_RANK")))
        for name in left:
            environment.pop(name, None)
    return task


def process_rank(environment: Environment) -> int:
    """Which process of its run this is, so far as the surroundings alone tell; 0 writes."""
    task = find_task(environment)
    if task is not None:
        return task.rank
    # Lightning's own processes, and its start on each machine: only 0 and 0 is the first.
    return number(environment, "NODE_RANK", 0) or own_local_rank(environment)


def own_local_rank(environment: Environment) -> int:
    """Among the processes that Lightning has started on this machine; 0 is the one that does."""
    return number(environment, "LOCAL_RANK", 0) if _is_ours(environment) else 0


def alone(command: Callable[[argparse.Namespace], int | None], name: str) -> Callable[
    [argparse.Namespace], int | None
]:  # fmt: skip
    """A command that runs in one process, and is refused where a launcher has started several.

    Args:
        command: would write the same files in each of them.
        name: of the command.
    """

    def run(arguments: argparse.Namespace) -> int | None:
        task = find_task(os.environ)
        if task is not None and task.world > 1:
            raise ConfigError(
                f"rl4bio {name} runs in one process, and {task.launcher} has started {task.world}; "
                "start it without a launcher, or one process of it"
            )
        return command(arguments)

    return run


def without_launcher(environment: Environment) -> dict[str, str]:
    """The surroundings for a command that a process of a run starts for itself."""
    told = {*NUMBERS, *PLACE, "NODE_RANK", "SLURM_STEP_ID", STARTED_BY, *HYDRA}
    told |= {name for names in OPEN_MPI for name in names}
    return {name: value for name, value in environment.items() if name not in told}


def refuse_script(environment: Environment) -> None:
    """Refuse the script of a SLURM job of several tasks, which runs once; a shell is no script.

    Raises:
        ConfigError: says what to do.
    """
    tasks = number(environment, "SLURM_NTASKS", 1)
    script = "SLURM_PROCID" in environment or environment.get("ENVIRONMENT") == "BATCH"
    if "SLURM_STEP_ID" in environment or tasks == 1 or not script:
        return
    if environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return
    raise ConfigError(
        f"trainer.devices: the SLURM job has {tasks} tasks, and this is its script, which runs "
        "once; put srun in front of rl4bio (srun --ntasks=1 for a single process)"
    )


def at_terminal() -> bool:
    """Whether somebody types what this process reads."""
    return sys.stdin is not None and sys.stdin.isatty()


def number(environment: Environment, name: str, default: int | None = None) -> int:
    """A whole number that a launcher has written.

    Raises:
        ConfigError: it is none.
    """
    given = environment.get(name)
    if given is None and default is not None:
        return default
    try:
        return int(given or "")
    except ValueError:
        raise ConfigError(
            f"trainer.devices: the launcher's {name} is {given!r}, which is no number; correct or "
            "unset it"
        ) from None


def _is_ours(environment: Environment) -> bool:
    """Whether Lightning has numbered this process for us, or is this very process."""
    return environment.get(STARTED_BY) in (str(os.getpid()), str(os.getppid()))


def _torch_task(environment: Environment, others: Task | None) -> Task | None:
    """As torchrun, accelerate, deepspeed or a cluster's own script number it; None if it is one."""
    rank, world = (number(environment, name) for name in NUMBERS[:2])
    surely = "TORCHELASTIC_RUN_ID" in environment
    if world == 1 and rank == 0 and not surely:
        return None
    _refuse_half_numbers(environment)
    local, each = (
        number(environment, name) if name in environment else None for name in NUMBERS[2:]
    )
    found = Task("torchrun", rank, world, local, each)
    if (
        others
        and not surely
        and world <= others.world
        and (others.rank, others.world) != (rank, world)
    ):
        raise ConfigError(
            f"trainer.devices: RANK={rank} of WORLD_SIZE={world}, but {others.launcher} calls this "
            f"process {others.rank} of {others.world}; unset RANK and WORLD_SIZE"
        )
    return found


def _refuse_half_numbers(environment: Environment) -> None:
    """Refuse numbers of one among several that do not say where the others are."""
    one = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    said = [n for n in NUMBERS if n in environment and number(environment, n) != one[n]]
    missing = [n for n in (*NUMBERS[:2], *PLACE) if not environment.get(n)]
    if said and missing:
        shown = ", ".join(f"{name}={environment[name]}" for name in said)
        raise ConfigError(
            f"trainer.devices: {shown} in the environment without {', '.join(missing)}; start with "
            f"torchrun, which sets all of them, or unset {', '.join(said)} for a single process"
        )


def _other_task(environment: Environment) -> Task | None:
    for names in OPEN_MPI:
        if number(environment, names[1], 1) > 1:
            return _mpi_task(environment, *names)
    slurm = _slurm_task(environment)
    if number(environment, "PMI_SIZE", 1) > 1:
        mpi = {"rank": number(environment, "PMI_RANK"), "world": number(environment, "PMI_SIZE")}
        if slurm is None or mpi != {"rank": slurm.rank, "world": slurm.world}:
            return _mpi_task(environment, *HYDRA)
    return slurm


def _mpi_task(environment: Environment, rank: str, size: str, local: str, each: str) -> Task:
    if not environment.keys() >= set(PLACE):
        raise ConfigError(
            f"trainer.devices: {size}={environment[size]}, but MASTER_ADDR and MASTER_PORT do not "
            "say where rank 0 is; set them, or start with torchrun or srun"
        )
    here = (number(environment, name) if name in environment else None for name in (local, each))
    return Task("mpi", number(environment, rank), number(environment, size), *here)


def _slurm_task(environment: Environment) -> Task | None:
    """A task of srun; a job's own script and a shell that somebody types into are none."""
    tasks = number(environment, "SLURM_STEP_NUM_TASKS", number(environment, "SLURM_NTASKS", 1))
    if "SLURM_STEP_ID" not in environment or tasks == 1:
        return None
    if "SLURM_PTY_PORT" in environment and at_terminal():
        return None
    nodes = number(environment, "SLURM_STEP_NUM_NODES", number(environment, "SLURM_NNODES", 1))
    uneven = "," in environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    if tasks % nodes or uneven:
        raise ConfigError(
            f"trainer.devices: srun has started {tasks} tasks on {nodes} machines; start as many "
            "on each (--ntasks-per-node)"
        )
    rank, each = number(environment, "SLURM_PROCID"), tasks // nodes
    local = number(environment, "SLURM_LOCALID", rank % each)
    node = number(environment, "SLURM_NODEID", rank // each)
    return Task("slurm", rank, tasks, local, each, node)
