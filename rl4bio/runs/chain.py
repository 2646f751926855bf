"""A run of several stages: each a run of its own that goes on from the weights of the one before.

    <run>/config.yaml      the chain, with its stages
    <run>/stages/          a whole run folder for each stage
    <run>/adapter|model/   what the last stage made; summary.json, metrics.csv, README.md and
                           report.html tell of the whole chain

Each stage is a process of its own, so that none sees what another has left in memory, and ends,
saves and resumes as any run does.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rl4bio.config.load import stage_configs, to_yaml
from rl4bio.errors import ConfigError, StorageError
from rl4bio.runs.chain_pages import write_chain
from rl4bio.runs.children import start
from rl4bio.runs.log import first_process
from rl4bio.runs.meeting import is_there_within
from rl4bio.runs.paths import with_absolute_paths
from rl4bio.sections import RunConfig
from rl4bio.storage import RunFolder, write_atomic
from rl4bio.storage.files import storage_errors

WAIT_S = 3600.0
"""How long other processes of a stage wait for the first one to write its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, and where it is."""

    name: str
    config: RunConfig
    folder: RunFolder

    @property
    def file(self) -> Path:
        """The configuration that its process is started with; gone when it has ended."""
        return self.folder.root.with_name(f"{self.folder.root.name}.yaml")

    @property
    def merged(self) -> Path:
        """Its adapter merged into its base, where the next stage trains other weights."""
        return self.folder.root.with_name(f"{self.folder.root.name}-merged")


def stages_of(config: RunConfig) -> list[Stage]:
    """The stages of a chain, in their order; [] for a run without any."""
    root, found = RunFolder(Path(config.output_dir) / config.name).stages, []
    for number, made in enumerate(stage_configs(config), start=1):
        name, made.output_dir = made.name, str(root)
        made.name = f"{config.name}-{number}-{name}"
        if made.policy.checkpoint != config.policy.checkpoint:
            raise ConfigError(
                f"stages[{number - 1}].policy.checkpoint: each stage goes on from the one before, "
                "the first from policy.checkpoint of the file"
            )
        found.append(Stage(name=name, config=made, folder=RunFolder(root / made.name)))
    return found


def fit_chain(config: RunConfig, arguments: argparse.Namespace) -> int:
    """Train the stages that are not finished; gives the exit code of the first that does not end.

    The chain's folder is claimed before: `rl4bio.fit.open_folder`.
    """
    stages, started = stages_of(config), time.monotonic()
    for number, stage in enumerate(stages):
        done = stage.folder.finished
        if first_process():
            what = " is finished" if done else f": {stage.folder.root}"
            print(f"stage {number + 1} of {len(stages)}: {stage.name}{what}", file=sys.stderr)
        if done:
            continue
        before = stages[number - 1] if number else None
        if first_process():
            if before is not None and (code := go_on_from(stage, before)):
                return code
            with storage_errors(stage.file):
                stage.file.parent.mkdir(exist_ok=True)
            write_atomic(stage.file, to_yaml(with_absolute_paths(stage.config)))
            stage.file.chmod(0o600)  # with whatever secrets the chain's file holds
        else:
            wait_for(stage.file)
        command = [sys.executable, "-m", "rl4bio.fit", "--config", str(stage.file)]
        code = start([*command, "--resume"], config.name)
        if code:
            if first_process():
                again = shlex.join(["--config", arguments.config, *arguments.overrides, "--resume"])
                print(
                    f"the stage {stage.name} ended with exit code {code}; "
                    f"the chain goes on with: rl4bio fit {again}",
                    file=sys.stderr,
                )
            return code
        if first_process():
            stage.file.unlink(missing_ok=True)
    root = RunFolder(Path(config.output_dir) / config.name)
    if first_process():
        parts = [(stage.name, stage.folder) for stage in stages]
        write_chain(config, root, parts, seconds=time.monotonic() - started)
        print(f"report: {root.report}")
    return 0


def go_on_from(stage: Stage, before: Stage) -> int:
    """Let a stage start from the weights of the one before it; the exit code of a merge.

    The same adapter is trained on. A stage that trains other weights starts from the sum of base
    and adapter.
    """
    policy, earlier = stage.config.policy, before.config.policy
    if before.folder.adapter.is_dir():
        own, old = policy.adapter, earlier.adapter
        assert old is not None
        if own is not None and dataclasses.replace(own, path=old.path) == old:
            policy.checkpoint, policy.revision = earlier.checkpoint, earlier.revision
            policy.adapter = dataclasses.replace(own, path=str(before.folder.adapter))
            return 0
        if not before.merged.is_dir():
            export = ["--run", str(before.folder.root), "--output", str(before.merged)]
            command = [sys.executable, "-m", "rl4bio.export", *export]
            if code := start(command, stage.config.name, alone=True):
                return code
        policy.checkpoint = str(before.merged)
    else:
        policy.checkpoint = str(before.folder.model)
    policy.revision, policy.molgpt = None, None
    return 0


def wait_for(file: Path) -> None:
    """Wait until the first process has written a stage's file.

    Raises:
        StorageError: it has not within an hour.
    """
    if not is_there_within(file, WAIT_S):
        raise StorageError(f"{file}: the first process has not written it; did it end?")
