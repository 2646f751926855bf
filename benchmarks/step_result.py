"""Running the variants of a step benchmark, and what is said about their steps."""

from __future__ import annotations

import dataclasses
import itertools
import platform
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.floor import PACKED_BYTES, Floor, Rates
from benchmarks.step_spec import PHASES, Measured, StepSpec
from benchmarks.step_worker import Worker

Figure = Callable[[Measured], float]


def cpu_seconds(step: Measured) -> float:
    """User and system time: what a step costs on a shared CPU."""
    return step.cpu_s


def wall_seconds(step: Measured) -> float:
    """Wall time: what a step costs on a GPU."""
    return step.wall_s


@dataclass(kw_only=True)
class Result:
    """The measured steps of all variants in one setting."""

    title: str
    steps: dict[str, list[Measured]]
    floor: Floor | None
    """None where completions end by themselves."""
    packed_floor: Floor | None = None
    """The same with weights read at `PACKED_BYTES`."""
    rates: Rates


def take_turns(
    specs: Sequence[StepSpec], rounds: int, *, profile: Path | None = None
) -> dict[str, list[Measured]]:
    """The steps of each variant: all processes live, one step each in turn, the first not counted.

    Args:
        specs: one a variant.
        rounds: measured steps of each.
        profile: a folder for the profiles of one more step each; None makes none.

    Raises:
        RuntimeError: a process failed; with the end of its output.
    """
    workers: list[Worker] = []
    steps: dict[str, list[Measured]] = {spec.variant: [] for spec in specs}
    try:
        for spec in specs:
            workers.append(Worker(spec))
        for number in range(rounds + 1):
            for worker in workers:
                measured = worker.step()
                if number:
                    steps[worker.spec.variant].append(measured)
        if profile is not None:
            for worker in workers:
                worker.profile(profile / f"{worker.spec.variant}.txt")
    finally:
        for worker in workers:
            worker.stop()
    return steps


def check_tokens(steps: Mapping[str, Sequence[Measured]], wanted: int) -> None:
    """Refuse a comparison of steps that are not the same work.

    Raises:
        RuntimeError: a variant made more or fewer completion tokens.
    """
    for variant, measured in steps.items():
        found = {m.tokens for m in measured}
        if found != {wanted}:
            raise RuntimeError(f"{variant} made {sorted(found)} completion tokens, not {wanted}")


def median(steps: Sequence[Measured], figure: Figure) -> float:
    """The median of a figure over steps."""
    return statistics.median(figure(step) for step in steps)


def table(result: Result, seconds: Figure) -> list[str]:
    """A line a variant: phases, step, its range, user and wall time, memory."""
    phases = "".join(f"{phase:>11}" for phase in PHASES)
    lines = [
        f"{'variant':<12}{phases}{'rest':>11}{'step':>9}{'range':>16}{'user':>9}{'wall':>9}"
        f"{'MiB':>9}{'x floor':>9}{'tokens':>9}"
    ]
    for variant, steps in result.steps.items():
        total = median(steps, seconds)
        parts = [statistics.median(m.phases_s[phase] for m in steps) for phase in PHASES]
        floor = f"{total / result.floor.step_s:.1f}" if result.floor else "-"
        spread = f"{min(map(seconds, steps)):.2f}-{max(map(seconds, steps)):.2f}"
        lines.append(
            f"{variant:<12}"
            + "".join(f"{part:>11.2f}" for part in [*parts, total - sum(parts)])
            + f"{total:>9.2f}{spread:>16}{median(steps, lambda m: m.user_s):>9.2f}"
            + f"{median(steps, wall_seconds):>9.2f}{max(m.memory_mib for m in steps):>9.0f}"
            + f"{floor:>9}{median(steps, lambda m: m.tokens):>9.0f}"
        )
    return lines


def ratios(steps: Mapping[str, Sequence[Measured]], seconds: Figure) -> list[str]:
    """TRL's figures over ours, round by round: median and range."""
    columns: dict[str, Figure] = {
        "step": seconds,
        "user time": lambda m: m.user_s,
        "rollout": lambda m: m.phases_s["rollout"],
        "reference": lambda m: m.phases_s["reference"],
        "update": lambda m: seconds(m) - m.phases_s["rollout"] - m.phases_s["reference"],
        "memory": lambda m: m.memory_mib,
    }
    lines = []
    for trl, own in itertools.product(*_sides(steps)):
        lines.append(f"{trl} / {own}:")
        for label, figure in columns.items():
            pairs = zip(steps[trl], steps[own], strict=True)
            found = [figure(a) / figure(b) for a, b in pairs if figure(b) > 0]
            if found:
                spread = f"({min(found):.2f}-{max(found):.2f})"
                lines[-1] += f" {label} {statistics.median(found):.2f}x {spread}"
    return lines


def _sides(variants: Collection[str]) -> tuple[list[str], list[str]]:
    """TRL's variants and ours."""
    theirs = [name for name in variants if name.startswith("trl")]
    return theirs, [name for name in variants if name not in theirs]


def show(result: Result, seconds: Figure = cpu_seconds) -> None:
    """Print a setting's table, its floor and its ratios."""
    rates, floor = result.rates, result.floor
    print(f"\n{result.title}; seconds, {seconds.__name__.replace('_', ' ')}")
    print("\n".join(table(result, seconds)))
    least = "" if floor is None else (
        f"; floor {floor.step_s:.2f} s = rollout {floor.rollout_s:.2f} + reference "
        f"{floor.reference_s:.2f} + update {floor.update_s:.2f}"
    )  # fmt: skip
    print(f"measured {rates.flops / 1e9:.0f} GFLOP/s, {rates.bytes / 1e9:.1f} GB/s{least}")
    if result.packed_floor is not None:
        least = result.packed_floor.step_s
        _, ours = _sides(result.steps)
        times = [f"{v} {median(result.steps[v], seconds) / least:.1f}x" for v in ours]
        rate = f"{PACKED_BYTES / 1e9:.0f} GB/s"
        print(f"with weights read at {rate}: floor {least:.2f} s; {', '.join(times)}")
    print("\n".join(ratios(result.steps, seconds)), flush=True)


def record(results: Sequence[Result], options: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` writes: every measured step, rates, floors, versions."""
    packages = filter(find_spec, ("torch", "transformers", "peft", "lightning", "trl"))
    return {
        "options": {key: str(value) for key, value in options.items()},
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "results": [dataclasses.asdict(result) for result in results],
    }
