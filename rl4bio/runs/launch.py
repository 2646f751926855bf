"""How many processes a run has, which of them this one is, and where it computes.

One decision from the configuration and the surroundings, made before anything is written; Lightning
is told the outcome (`ranks`) and decides nothing itself. Where a launcher and the configuration
disagree, the launcher wins if that is safe; else the run is refused in one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rl4bio.errors import ConfigError
from rl4bio.sections.run import TrainerConfig

Environment = Mapping[str, str]
Launcher = Literal["none", "lightning", "torchrun", "slurm", "mpi"]

MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
)
"""Rank, processes and rank on its machine, as MPI's launchers say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The processes of a run, as this one sees them."""

    launcher: Launcher
    """Who starts the others: nobody, Lightning (this process), or a program that has done so."""
    accelerator: Literal["cpu", "gpu", "mps"]
    devices: int
    """Processes on this machine; 1 where each sees one card alone."""
    nodes: int
    rank: int = 0
    local_rank: int = 0
    node_rank: int = 0

    @property
    def world(self) -> int:
        """All processes of the run."""
        return self.devices * self.nodes

    def describe(self) -> str:
        """One line for the log."""
        if self.world == 1:
            return f"one process on {self.accelerator}"
        return (
            f"process {self.rank} of {self.world}, started by {self.launcher}, "
            f"{self.accelerator} {self.local_rank}"
        )


@dataclass(frozen=True, slots=True)
class Task:
    """This process as a launcher has numbered it."""

    launcher: Launcher
    rank: int
    world: int
    local_rank: int
    local_world: int


def process_rank(environment: Environment) -> int:
    """Which process of its run this is, so far as the surroundings alone tell; 0 writes."""
    task = find_task(environment)
    if task is not None:
        return task.rank
    # Lightning's own processes, and its start on each machine: only 0 and 0 is the first.
    return int(environment.get("NODE_RANK", 0)) or int(environment.get("LOCAL_RANK", 0))


def plan_launch(
    section: TrainerConfig, environment: Environment, *, cards: int, mps: bool = False
) -> Launch:
    """The processes of a run.

    Args:
        section: what the configuration asks for.
        environment: of this process.
        cards: CUDA devices that it sees.
        mps: whether there is an Apple GPU.

    Raises:
        ConfigError: what is asked for is not there, or the launcher has started something else.
    """
    accelerator = find_accelerator(section, cards, mps)
    task = find_task(environment)
    if task is None:
        return _without_launcher(section, environment, accelerator, cards)
    if task.world % task.local_world:
        raise ConfigError(
            f"trainer.devices: {task.launcher} has started {task.world} processes, "
            f"{task.local_world} of them on this machine; start as many on each machine"
        )
    nodes = task.world // task.local_world
    asked = None if section.devices == "auto" else int(section.devices)
    if asked not in (None, task.local_world):
        raise ConfigError(
            f"trainer.devices: got {asked}, but {task.launcher} has started {task.local_world} "
            "processes on this machine; leave it at auto, or start as many"
        )
    if section.num_nodes not in (1, nodes):
        raise ConfigError(
            f"trainer.num_nodes: got {section.num_nodes}, but {task.launcher} has started "
            f"processes on {nodes}; leave it at 1, or start as many"
        )
    if task.world > 1 and accelerator == "mps":
        raise ConfigError("trainer.accelerator: mps has one device; start one process")
    if accelerator == "gpu" and cards < task.local_world:
        if cards != 1 or "CUDA_VISIBLE_DEVICES" not in environment:
            raise ConfigError(
                f"trainer.devices: {task.launcher} has started {task.local_world} processes on "
                f"this machine, which has {cards} GPUs; start one for each"
            )
        # Each process sees its own card alone, as its device 0: as good as a machine each.
        return Launch(
            launcher=task.launcher,
            accelerator=accelerator,
            devices=1,
            nodes=task.world,
            rank=task.rank,
            node_rank=task.rank,
        )
    return Launch(
        launcher=task.launcher,
        accelerator=accelerator,
        devices=task.local_world,
        nodes=nodes,
        rank=task.rank,
        local_rank=task.local_rank,
        node_rank=task.rank // task.local_world,
    )


def find_accelerator(section: TrainerConfig, cards: int, mps: bool) -> Literal["cpu", "gpu", "mps"]:
    """What `trainer.accelerator` means here; auto is a CUDA device or the CPU.

    Raises:
        ConfigError: it is not there.
    """
    if section.accelerator == "auto":
        return "gpu" if cards else "cpu"
    if section.accelerator == "gpu" and not cards:
        raise ConfigError("trainer.accelerator: gpu, but torch finds none here; use auto or cpu")
    if section.accelerator == "mps" and not mps:
        raise ConfigError("trainer.accelerator: mps, but this is no Apple GPU; use auto or cpu")
    return section.accelerator


def find_task(environment: Environment) -> Task | None:
    """What a launcher says of this process; None where there is none.

    Raises:
        ConfigError: a launcher has reserved several processes and started one, or has not said
            where the first one is.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment and "MASTER_ADDR" in environment:
        world = _number(environment, "WORLD_SIZE")
        return Task(
            "torchrun",
            _number(environment, "RANK"),
            world,
            _number(environment, "LOCAL_RANK", 0),
            _number(environment, "LOCAL_WORLD_SIZE", world),
        )
    for rank, size, local in MPI:
        if _number(environment, size, 1) > 1:
            return _mpi_task(environment, rank, size, local)
    return _slurm_task(environment)


def _mpi_task(environment: Environment, rank: str, size: str, local: str) -> Task:
    if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
        raise ConfigError(
            f"trainer.devices: {size}={environment[size]}, but MASTER_ADDR and MASTER_PORT do not "
            "say where rank 0 is; set them, or start with torchrun or srun"
        )
    local_size = local.removesuffix("RANK") + "SIZE"
    world = _number(environment, size)
    local_world = _number(environment, local_size, world)
    return Task(
        "mpi", _number(environment, rank), world, _number(environment, local, 0), local_world
    )


def _slurm_task(environment: Environment) -> Task | None:
    """A task of srun; a job's own script and an interactive shell are none."""
    tasks = _number(environment, "SLURM_NTASKS", 1)
    if "SLURM_STEP_ID" not in environment:
        if tasks > 1 and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
            raise ConfigError(
                f"trainer.devices: the SLURM job has {tasks} tasks, and this is its script, which "
                "runs once; put srun in front of rl4bio"
            )
        return None
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS", tasks)
    if tasks == 1:
        return None
    nodes = _number(environment, "SLURM_STEP_NUM_NODES", _number(environment, "SLURM_NNODES", 1))
    if tasks % nodes:
        raise ConfigError(
            f"trainer.devices: srun has started {tasks} tasks on {nodes} machines; start as many "
            "on each (--ntasks-per-node)"
        )
    rank = _number(environment, "SLURM_PROCID")
    local_world = tasks // nodes
    local = _number(environment, "SLURM_LOCALID", rank % local_world)
    return Task("slurm", rank, tasks, local, local_world)


def _without_launcher(
    section: TrainerConfig,
    environment: Environment,
    accelerator: Literal["cpu", "gpu", "mps"],
    cards: int,
) -> Launch:
    """One process, which Lightning may start others from."""
    found = {"gpu": cards, "cpu": 1, "mps": 1}[accelerator]
    devices = found if section.devices == "auto" else int(section.devices)
    if accelerator != "cpu" and devices > found:
        raise ConfigError(
            f"trainer.devices: got {devices}, but there are {found} GPUs; ask for at most as many"
        )
    wanted = {"NODE_RANK", "MASTER_ADDR"}
    if section.num_nodes > 1 and not wanted <= set(environment):
        raise ConfigError(
            f"trainer.num_nodes: {section.num_nodes} machines, but nothing says which this is; "
            "start with torchrun or srun, or set NODE_RANK, MASTER_ADDR and MASTER_PORT on each"
        )
    node = _number(environment, "NODE_RANK", 0) if section.num_nodes > 1 else 0
    if node >= section.num_nodes:
        raise ConfigError(
            f"trainer.num_nodes: NODE_RANK is {node}, but there are {section.num_nodes} machines"
        )
    local = _number(environment, "LOCAL_RANK", 0)
    alone = devices * section.num_nodes == 1
    return Launch(
        launcher="none" if alone else "lightning",
        accelerator=accelerator,
        devices=devices,
        nodes=section.num_nodes,
        rank=node * devices + local,
        local_rank=local,
        node_rank=node,
    )


def _number(environment: Environment, name: str, default: int | None = None) -> int:
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
