"""`rl4bio fit --seeds 1,2,3 --sweep key=a,b`: one run after the other, then all beside each other.

Each run is a process of its own, as if its command had been given by hand, so that none sees what
another has left in memory.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rl4bio.comparisons.planning import PlannedRun, plan
from rl4bio.errors import ConfigError, DataError, ModelError, StorageError
from rl4bio.runs.children import start

ALIKE = {error.exit_code for error in (ConfigError, DataError, ModelError, StorageError)}
"""Exit codes of what the next run would meet too."""


def fit_several(arguments: argparse.Namespace) -> int:
    """Start every planned run and write their comparison.

    A run that fails leaves the others their turn, unless they would fail alike; a signal ends all.

    Returns:
        0, or the exit code of the first run that failed.
    """
    runs = plan(arguments)
    failed: dict[str, int] = {}
    for number, run in enumerate(runs, start=1):
        done = arguments.resume and run.finished
        _say(f"run {number} of {len(runs)}: {run.name}{' is finished' if done else ''}")
        code = 0 if done else start(_command(arguments, run), run.group)
        if code >= 128 or code in ALIKE:
            rest = f", {len(runs) - number} more were not started" if number < len(runs) else ""
            _say(f"{run.name} ended with exit code {code}{rest}; continue with: {again(arguments)}")
            return code
        if code:
            failed[run.name] = code
    if failed:
        ends = ", ".join(f"{name} (exit code {code})" for name, code in failed.items())
        _say(f"not finished: {ends}")
    if found := [run.folder for run in runs if run.finished]:
        from rl4bio.comparisons.comparing import compare_runs

        print(compare_runs(found, Path(runs[0].config.output_dir) / runs[0].group))
    return next(iter(failed.values()), 0)


def _command(arguments: argparse.Namespace, run: PlannedRun) -> list[str]:
    options = [*_options(arguments), *(["--debug"] if arguments.debug else [])]
    return [sys.executable, "-m", "rl4bio.fit", *options, *run.overrides]


def _options(arguments: argparse.Namespace) -> list[str]:
    config = [] if arguments.config is None else ["--config", str(arguments.config)]
    again = "--resume" if arguments.resume else "--restart" if arguments.restart else None
    return [*config, *([again] if again else [])]


def again(arguments: argparse.Namespace) -> str:
    """The command that goes on with what is not finished."""
    seeds = [f"--seeds={arguments.seeds}"] if arguments.seeds else []
    sweeps = [f"--sweep={text}" for text in arguments.sweep]
    resumed = argparse.Namespace(config=arguments.config, resume=True, restart=False)
    return "rl4bio fit " + shlex.join([*_options(resumed), *arguments.overrides, *seeds, *sweeps])


def _say(text: str) -> None:
    print(f"rl4bio: {text}", file=sys.stderr, flush=True)
