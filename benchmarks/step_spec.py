"""What a worker of the benchmarks is told, does and says back; shared with their driver."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import gc
import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import torch

Variant = Literal["trl-best", "trl-default", "engine", "engine-eager", "generate"]
Precision = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PHASES = ("rollout", "reference", "backward")
"""What both trainers are timed in; the rest of a step is forward, optimiser and everything else."""


@dataclass(kw_only=True)
class StepSpec:
    """What a worker trains, and how."""

    variant: Variant
    checkpoint: str
    """A folder of `lab.write_checkpoint`."""
    workspace: str
    """Where the trainer may write."""
    num_prompts: int
    group_size: int
    prompt_tokens: int
    completion_tokens: int
    precision: Precision
    device: Literal["cpu", "cuda"] = "cpu"
    tokens_per_micro_batch: int = 8192
    """Ours: one forward."""
    rows_per_micro_batch: int | None = None
    """TRL: one forward; None = all rows."""
    kl_coef: float = 0.04
    num_threads: int = 1

    @property
    def num_rows(self) -> int:
        return self.num_prompts * self.group_size


@dataclass(kw_only=True)
class Measured:
    """One step; seconds and MiB."""

    wall_s: float
    user_s: float
    system_s: float
    memory_mib: float
    """Peak above what stood before the first step."""
    tokens: int
    """Completion tokens of the step."""
    phases_s: dict[str, float] = field(default_factory=dict)
    """CPU seconds of `PHASES`; wall seconds on a GPU."""

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


class Finished(BaseException):  # not an Exception: no trainer may handle it
    """Leaves a trainer's loop."""


class Turns:
    """The worker's side: measures what happens between two calls of `ready`.

    Args:
        inbox: the parent's commands, one a line.
        outbox: replies, one line of JSON each.
        device: what is measured.
    """

    def __init__(self, inbox: TextIO, outbox: TextIO, device: str) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.cuda = device == "cuda"
        self.tokens = 0
        """Completion tokens of the running step; the trainer's side sets it."""
        self.phases_s: dict[str, float] = {}
        self._base_mib: float | None = None
        self._started: tuple[float, float, float] | None = None
        self._profile = contextlib.ExitStack()

    def ready(self) -> None:
        """Report the step that has ended, then wait until the next may start.

        Raises:
            Finished: there is no next.
        """
        if self._started is None:
            self._base_mib = self._base_memory()
            self._send({"ready": True})
        else:
            clocks = self._clocks()
            wall, user, system = (b - a for a, b in zip(self._started, clocks, strict=True))
            self._profile.close()
            measured = Measured(
                wall_s=wall,
                user_s=user,
                system_s=system,
                memory_mib=self._peak_memory() - (self._base_mib or 0.0),
                tokens=self.tokens,
                phases_s=self.phases_s,
            )
            self._send(dataclasses.asdict(measured))
        command, _, argument = self.inbox.readline().strip().partition(" ")
        if command not in ("step", "profile"):
            raise Finished
        self.tokens, self.phases_s = 0, dict.fromkeys(PHASES, 0.0)
        if command == "profile":
            self._profile.enter_context(profiled(Path(argument), cuda=self.cuda))
        self._reset_peak()
        self._started = self._clocks()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds added to a phase of the running step."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = self._phase_clock()
            try:
                return function(*args, **kwargs)
            finally:
                spent = self._phase_clock() - start
                self.phases_s[phase] = self.phases_s.get(phase, 0.0) + spent

        return wrapper

    def _send(self, message: dict[str, Any]) -> None:
        print(json.dumps(message), file=self.outbox, flush=True)

    def _phase_clock(self) -> float:
        return self._clocks()[0] if self.cuda else time.process_time()

    def _clocks(self) -> tuple[float, float, float]:
        """Wall, user and system seconds, once the GPU has finished."""
        if self.cuda:
            torch.cuda.synchronize()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.perf_counter(), usage.ru_utime, usage.ru_stime

    def _base_memory(self) -> float:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            return torch.cuda.memory_allocated() / 2**20
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        return process_memory("VmRSS")

    def _peak_memory(self) -> float:
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        return process_memory("VmHWM")

    def _reset_peak(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again at VmRSS


def process_memory(name: Literal["VmRSS", "VmHWM"]) -> float:
    """A figure of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}")


@contextlib.contextmanager
def profiled(path: Path, *, cuda: bool) -> Iterator[None]:
    """Write the operators that took longest inside to a text file."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as found:
        yield
    order = "self_device_time_total" if cuda else "self_cpu_time_total"
    path.write_text(found.key_averages().table(sort_by=order, row_limit=40))
