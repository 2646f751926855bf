"""What Lightning and torch are told of a `Launch`."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.strategies import (
    DDPStrategy,
    ModelParallelStrategy,
    ParallelStrategy,
)
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed.rendezvous import rendezvous

from rl4bio.errors import ConfigError, RankError
from rl4bio.hardware import check_code, settle_cuda
from rl4bio.runs.companions import keep_company, watch_children, watch_parent
from rl4bio.runs.launch import Launch, plan_launch
from rl4bio.runs.launchers import STARTED_BY
from rl4bio.runs.meeting import JOIN
from rl4bio.sections.run import TrainerConfig

STEP = timedelta(minutes=30)
"""How long they wait for one another in a run: a step may take minutes."""
SAY_AFTER_S = 20.0
"""After which a process says that it waits for the others to be there."""
OUTSIDE = ("torchrun", "slurm", "mpi")
"""Launchers that have started all processes themselves."""


class KnownRanks(ClusterEnvironment):
    """Processes that a launcher has started and numbered."""

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self.launch = launch

    @property
    def creates_processes_externally(self) -> bool:
        """Yes: Lightning must start none."""
        return True

    @property
    def main_address(self) -> str:
        """Where the first process listens."""
        if self.launch.launcher == "slurm" and "MASTER_ADDR" not in os.environ:
            hosts = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST")
            return SLURMEnvironment.resolve_root_node_address(hosts or "127.0.0.1")
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """On which port; of Slurm from the numbers of the job and its step."""
        if "MASTER_PORT" in os.environ:
            return int(os.environ["MASTER_PORT"])
        job, step = (os.environ.get(f"SLURM_{name}_ID", "0") for name in ("JOB", "STEP"))
        return 15000 + (int(job[-4:]) + 997 * int(step)) % 10000

    @staticmethod
    def detect() -> bool:
        """No: it is given, never looked for."""
        return False  # given, never looked for

    def world_size(self) -> int:
        """Processes of the run."""
        return self.launch.world

    def set_world_size(self, size: int) -> None:
        """Nothing: the launcher has numbered them."""

    def global_rank(self) -> int:
        """Of this process among all."""
        return self.launch.rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: the launcher has numbered them."""

    def local_rank(self) -> int:
        """Among those of its machine."""
        return self.launch.local_rank

    def node_rank(self) -> int:
        """Of its machine."""
        return self.launch.node_rank


def own_launch(section: TrainerConfig) -> Launch:
    """The launch that this process is part of; its CUDA device is made the current one."""
    launch = plan_launch(
        section,
        os.environ,
        cards=torch.cuda.device_count() if torch.cuda.is_available() else 0,
        mps=torch.backends.mps.is_available(),
    )
    if launch.launcher == "lightning" and hasattr(sys, "ps1"):
        raise ConfigError(
            f"trainer.devices: a notebook or a prompt is one process, this run has {launch.world}; "
            "set trainer.devices=1, or give rl4bio fit to a shell (!rl4bio fit ... in a cell)"
        )
    if section.strategy == "fsdp" and launch.world == 1:
        raise ConfigError(
            "trainer.strategy: fsdp shares the weights out among processes, and this run has one; "
            "start several (trainer.devices=2), or leave it at auto"
        )
    if launch.accelerator == "gpu":
        check_code(launch.local_rank)
        settle_cuda(launch.local_rank)
    return launch


def join(section: TrainerConfig) -> None:
    """Meet the other processes that a launcher has started, before anything is written.

    Raises:
        RankError: they have not all come.
    """
    launch = own_launch(section)
    if launch.world == 1 or torch.distributed.is_initialized():
        return
    known = KnownRanks(launch)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = known.main_address, str(known.main_port)
    numbers: dict[str, int] = {"rank": launch.rank, "world_size": launch.world}
    try:
        with signals_end_it(), saying_that_it_waits(launch, known):
            store, _, _ = next(rendezvous("env://", **numbers, timeout=JOIN))
            torch.distributed.init_process_group(
                "nccl" if launch.accelerator == "gpu" else "gloo",
                store=store,
                timeout=STEP,
                **numbers,  # type: ignore[arg-type]
            )
            if launch.accelerator == "gpu":
                check_own_card(store, launch)
    except (RuntimeError, ValueError) as error:
        raise RankError(
            f"process {launch.rank} has not met all {launch.world} at {known.main_address}:"
            f"{known.main_port} ({str(error).splitlines()[0]}); see the others' messages"
        ) from error
    atexit.register(leave)
    keep_company()


@contextlib.contextmanager
def saying_that_it_waits(launch: Launch, known: KnownRanks) -> Iterator[None]:
    """Say so where the others are long in coming: they may never have been meant."""
    by_hand = launch.launcher == "torchrun" and "TORCHELASTIC_RUN_ID" not in os.environ
    text = (
        f"rl4bio: process {launch.rank} of {launch.world} waits for the others at "
        f"{known.main_address}:{known.main_port}, {JOIN.total_seconds() / 60:g} minutes at most; "
        + ("unset RANK and WORLD_SIZE for a single process" if by_hand else "have all started?")
    )
    timer = threading.Timer(SAY_AFTER_S, print, (text,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_own_card(store: Any, launch: Launch) -> None:
    """Refuse two processes on one card: each may see a single one, and not the same.

    Args:
        store: where all processes have met.
        launch: of this one.

    Raises:
        ConfigError: names the processes, in each of them.
    """
    own = torch.cuda.get_device_properties(launch.local_rank)
    store.set(f"rl4bio/card/{launch.rank}", str(own.uuid))
    cards = [store.get(f"rl4bio/card/{rank}").decode() for rank in range(launch.world)]
    for rank, card in enumerate(cards):
        if (first := cards.index(card)) != rank:
            raise ConfigError(
                f"trainer.devices: processes {first} and {rank} are on the same GPU ({card}); "
                "leave CUDA_VISIBLE_DEVICES to the launcher, or start one process for each GPU"
            )


def leave() -> None:
    """End the connection to the other processes."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def signals_end_it() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the process at once: no handler of Python's runs while it waits
    for the others, and there is nothing to save."""
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, signal.SIG_DFL) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def trainer_options(section: TrainerConfig) -> dict[str, Any]:
    """Arguments of Lightning's Trainer: what computes, how many, and who has started them."""
    launch = own_launch(section)
    outside = launch.launcher in OUTSIDE
    # Named also for one process: Lightning would otherwise look around for a cluster itself.
    environment = KnownRanks(launch) if outside else LightningEnvironment()
    options: dict[str, Any] = {
        "accelerator": launch.accelerator,
        "devices": launch.devices,
        "num_nodes": launch.nodes,
    }
    if launch.world == 1 and section.strategy == "auto":
        return {**options, "strategy": "auto", "plugins": [environment]}
    if launch.launcher == "lightning" and launch.local_rank:
        watch_parent()
    if section.strategy == "fsdp":
        strategy = Shares(data_parallel_size=launch.world, tensor_parallel_size=1, timeout=STEP)
        strategy.cluster_environment = environment
        return {**options, "strategy": strategy}
    return {**options, "strategy": Ranks(cluster_environment=environment, timeout=STEP)}


class InCompany(ParallelStrategy):
    """A strategy whose processes end together, with the cause of the first that failed."""

    num_processes: int
    num_nodes: int

    def setup_environment(self) -> None:
        """Meet the other processes, and watch them from then on."""
        super().setup_environment()
        keep_company()

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


class Ranks(InCompany, DDPStrategy):
    """Every process has all weights (DDP)."""


class Shares(InCompany, ModelParallelStrategy):
    """Every process has a share of every weight (FSDP2); `PolicyModule` hands them out."""


class Launcher(_SubprocessScriptLauncher):
    """Starts the other processes of this machine; Lightning's own would kill all at once."""

    def launch(self, function: Any, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Run the function here, once the others are started."""
        if not self.cluster_environment.creates_processes_externally:
            os.environ[STARTED_BY] = str(os.getpid())
            self._call_children_scripts()
            watch_children(self.procs)
        return function(*args, **kwargs)
