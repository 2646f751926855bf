"""How many processes a run has, which of them this one is, and where it computes.

One decision from the configuration and the surroundings, made before anything is written; Lightning
is told the outcome (`ranks`) and decides nothing itself. Where a launcher and the configuration
disagree, the launcher wins if that is safe; else the run is refused in one line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rl4bio.errors import ConfigError
from rl4bio.runs.launchers import (
    Environment,
    Outside,
    Task,
    find_task,
    number,
    own_local_rank,
    refuse_script,
)
from rl4bio.sections.run import TrainerConfig

Accelerator = Literal["cpu", "gpu", "mps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The processes of a run, as this one sees them."""

    launcher: Outside | Literal["none", "lightning"]
    """Who starts the others: nobody, Lightning (this process), or a program that has done so."""
    accelerator: Accelerator
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
    asked = None if section.devices == "auto" else int(section.devices)
    local, each = _place(task, section.num_nodes, asked, cards if accelerator == "gpu" else 1)
    if task.world % each:
        raise ConfigError(
            f"trainer.devices: {task.launcher} has started {task.world} processes, "
            f"{each} of them on this machine; start as many on each machine"
        )
    nodes = task.world // each
    if asked not in (None, each):
        raise ConfigError(
            f"trainer.devices: got {asked}, but {task.launcher} has started {each} "
            "processes on this machine; leave it at auto, or start as many"
        )
    if section.num_nodes not in (1, nodes):
        raise ConfigError(
            f"trainer.num_nodes: got {section.num_nodes}, but {task.launcher} has started "
            f"processes on {nodes}; leave it at 1, or start as many"
        )
    if task.world > 1 and accelerator == "mps":
        raise ConfigError("trainer.accelerator: mps has one device; start one process")
    found = Launch(
        launcher=task.launcher,
        accelerator=accelerator,
        devices=each,
        nodes=nodes,
        rank=task.rank,
        local_rank=local,
        node_rank=task.rank // each if task.node_rank is None else task.node_rank,
    )
    if accelerator != "gpu" or cards >= each:
        return found
    if cards != 1 or "CUDA_VISIBLE_DEVICES" not in environment:
        raise ConfigError(
            f"trainer.devices: {task.launcher} has started {each} processes on "
            f"this machine, which has {cards} GPUs; start one for each"
        )
    # Each process sees its own card alone, as its device 0: as good as a machine each.
    return replace(found, devices=1, nodes=task.world, local_rank=0, node_rank=task.rank)


def _place(task: Task, num_nodes: int, asked: int | None, cards: int) -> tuple[int, int]:
    """Rank of a process on its machine, and how many there are, also where that is not said."""
    each = task.local_world
    if each is None and task.local_rank is not None:
        each = asked or max(1, task.world // num_nodes)
    elif each is None:
        if asked is None and cards > 1:
            raise ConfigError(
                f"trainer.devices: {task.launcher} says which of {task.world} processes this is, "
                f"but not which of this machine's, which has {cards} GPUs; set LOCAL_RANK and "
                "LOCAL_WORLD_SIZE too"
            )
        each = asked or 1
    local = task.rank % each if task.local_rank is None else task.local_rank
    replace(task, local_rank=local, local_world=each)  # refuses what cannot be
    return local, each


def find_accelerator(section: TrainerConfig, cards: int, mps: bool) -> Accelerator:
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


def _without_launcher(
    section: TrainerConfig,
    environment: Environment,
    accelerator: Accelerator,
    cards: int,
) -> Launch:
    """One process, which Lightning may start others from."""
    refuse_script(environment)
    found = {"gpu": cards, "cpu": 1, "mps": 1}[accelerator]
    devices = found if section.devices == "auto" else int(section.devices)
    if accelerator != "cpu" and devices > found:
        raise ConfigError(
            f"trainer.devices: got {devices}, but there are {found} GPUs; ask for at most as many"
        )
    wanted = {"NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}
    if section.num_nodes > 1 and not wanted <= set(environment):
        raise ConfigError(
            f"trainer.num_nodes: {section.num_nodes} machines, but nothing says which this is; "
            "start with torchrun or srun, or set NODE_RANK, MASTER_ADDR and MASTER_PORT on each"
        )
    node = number(environment, "NODE_RANK", 0) if section.num_nodes > 1 else 0
    if not 0 <= node < section.num_nodes:
        raise ConfigError(
            f"trainer.num_nodes: NODE_RANK is {node}, but there are {section.num_nodes} machines"
        )
    local = own_local_rank(environment)
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
