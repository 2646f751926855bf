"""The folder of a run: where each output goes, and who may write there."""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import yaml

from rl4bio.errors import ConfigError, StorageError
from rl4bio.storage.changed_keys import changed_keys
from rl4bio.storage.files import read_json, remove_leftovers, storage_errors, write_atomic
from rl4bio.storage.step_records import keep_files, keep_rows

PLACE = ("name", "output_dir")
"""Where a run is. A folder that was moved is the same run."""
MAY_DIFFER = ("trainer", "logging", "callbacks", "evaluation")
"""Sections that a resumed run may change."""


class RunFolder:
    """Paths of one run. Making an object touches nothing; `RunFolder.open` claims the folder.

    Args:
        root: `<output_dir>/<name>`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.metrics = root / "metrics.csv"
        self.completions = root / "completions"
        self.molecules = root / "molecules.csv"
        self.calls = root / "calls.csv"
        self.checkpoints = root / "checkpoints"
        self.stages = root / "stages"
        """Of a chain: the run folders of its stages."""
        self.adapter = root / "adapter"
        self.model = root / "model"
        self.summary = root / "summary.json"
        self.report = root / "report.html"
        self.card = root / "README.md"
        self.log = root / "log.txt"
        self.identity = ""
        """Of the run, wherever its folder is; known once `open` has claimed it."""
        self.resumed = False
        """Whether `open` found this run started before."""
        self._lock: IO[str] | None = None
        self.made = False
        """Whether `open` found no run here, so that the folder is this process's own."""

    @classmethod
    def check_free(
        cls,
        output_dir: Path,
        name: str,
        config_yaml: str,
        *,
        resume: bool = False,
        may_differ: Sequence[str] = MAY_DIFFER,
    ) -> None:
        """Refuse what `open` would refuse, and make or change nothing; arguments as there."""
        folder = cls(output_dir / name)
        with storage_errors(folder.root):
            if not folder.root.exists():
                return
            folder._check(folder._names(), config_yaml, resume, may_differ)
            if (folder.root / ".lock").exists():
                folder._lock_it("r").close()

    @classmethod
    def open(
        cls,
        output_dir: Path,
        name: str,
        config_yaml: str,
        *,
        resume: bool = False,
        may_differ: Sequence[str] = MAY_DIFFER,
    ) -> RunFolder:
        """Make or take up a run's folder, lock it for this process and store the configuration.

        Call it on rank 0 alone. The lock ends with the process, however that ends.

        Args:
            output_dir: parent of all runs.
            name: of the run.
            config_yaml: the resolved configuration.
            resume: continue a run that is there already; a fresh one is started where none is.
            may_differ: top-level sections, or dotted keys, that resuming may change.

        Raises:
            StorageError: the name is taken and `resume` is off, the folder is no run's, another
                process is using it, or it cannot be written.
            ConfigError: `resume` with a configuration that is another run's.
        """
        folder = cls(output_dir / name)
        with storage_errors(folder.root):
            folder.root.mkdir(parents=True, exist_ok=True)
            taken = folder._names()
        folder._claim()
        try:
            folder._check(taken, config_yaml, resume, may_differ)
            folder.made = not taken
            folder.resumed = "config.yaml" in taken
            folder.identity = folder._identify()
            remove_leftovers(folder.root)
            remove_leftovers(folder.completions)
            with storage_errors(folder.summary):
                folder.summary.unlink(missing_ok=True)  # finished no more, if it ever was
            # The configuration comes first: it is what makes the folder a run's.
            write_atomic(folder.config, config_yaml)
            with storage_errors(folder.root):
                folder.completions.mkdir(exist_ok=True)
                folder.checkpoints.mkdir(exist_ok=True)
        except BaseException:
            folder.close()
            raise
        return folder

    @property
    def trained(self) -> bool:
        """Whether a step has left something: a checkpoint, a metric, a completion or a model."""
        files = (self.metrics, self.molecules, self.calls, self.adapter, self.model, self.summary)
        folders = (self.checkpoints, self.completions, self.stages)
        return any(path.exists() for path in files) or any(
            any(folder.glob("[!.]*")) for folder in folders
        )

    @property
    def tuned(self) -> Path | None:
        """The folder of the tuned weights, an adapter or a whole model; None before the end."""
        return next((folder for folder in (self.adapter, self.model) if folder.is_dir()), None)

    @property
    def finished(self) -> bool:
        """Whether the run is over and has left everything; the summary is written last."""
        return self.tuned is not None and self.report.is_file() and self.summary.is_file()

    def complete(self, config_yaml: str, *, resume: bool) -> str:
        """What to say instead of training on a finished run; "" where there is something to do.

        Args:
            config_yaml: the resolved configuration that is asked for.
            resume: whether going on is.

        Raises:
            StorageError: it is finished with other settings, and `resume` is off.
        """
        with storage_errors(self.config):
            there = self.config.is_file() and self.finished
        if not there or not (stored := self._stored()):
            return ""
        try:
            steps = read_json(self.summary)["steps"]
        except (StorageError, KeyError):
            return ""
        changed = changed_keys(stored, config_yaml, PLACE)
        if not changed:
            return f"complete: {self.root} is finished, {steps} steps"
        if not resume:
            raise StorageError(
                f"{self.root}: a run of this name exists and is finished ({steps} steps), with "
                f"other settings ({'; '.join(changed[:5])}); choose another name=, or add --resume "
                "to train on with more trainer.max_steps"
            )
        wanted = yaml.safe_load(config_yaml)["trainer"]["max_steps"]
        if wanted > steps or changed_keys(stored, config_yaml, (*PLACE, *MAY_DIFFER)):
            return ""
        return (
            f"complete: {self.root} is finished, {steps} steps; not used: {'; '.join(changed[:5])}"
        )

    def go_back(self, step: int) -> None:
        """Drop the completions and molecules after a step, which the run is about to repeat.

        Raises:
            StorageError: something cannot be read or written.
        """
        keep_files(self.completions, lambda number: number <= step)
        for path in (self.molecules, self.calls):
            keep_rows(path, lambda number: number <= step)

    def set_aside(self) -> Path | None:
        """Rename the folder, so that its name is free; None where there is none.

        Raises:
            StorageError: another process is using it.
        """
        if not self.root.exists():
            return None
        with storage_errors(self.root):
            if (self.root / ".lock").exists():
                self._lock_it("r").close()
            numbers = itertools.count(1)
            names = (self.root.with_name(f"{self.root.name}.before-{n}") for n in numbers)
            aside = next(path for path in names if not path.exists())
            os.replace(self.root, aside)
        return aside

    def _identify(self) -> str:
        """The token in the folder, made where there is none."""
        path = self.root / ".run"
        with storage_errors(path):
            if not path.exists():
                write_atomic(path, secrets.token_hex(8))
            return path.read_text("utf-8", errors="replace").strip()

    def discard(self) -> None:
        """Remove a folder that this process has made, so that its name is free again."""
        if self.made:
            self.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def close(self) -> None:
        """Give up the lock; the folder stays."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check(
        self, taken: list[str], config_yaml: str, resume: bool, may_differ: Sequence[str]
    ) -> None:
        if not taken:
            return
        if "config.yaml" not in taken:
            raise StorageError(
                f"{self.root}: not empty and no run's folder (no config.yaml); choose another name="
            )
        if not resume and not self.trained:
            return  # its run ended before the first step
        for path in (self.metrics, self.molecules, self.calls, self.log):
            if path.exists() and not path.is_file():
                raise StorageError(f"{path}: is no file; move it away")
        stored = self._stored()
        if not resume:
            changed = changed_keys(stored, config_yaml, PLACE)
            other = f" with other settings ({'; '.join(changed[:5])})" if changed else ""
            raise StorageError(
                f"{self.root}: a run of this name exists{other}; add --resume to continue it, or "
                "choose another name="
            )
        if changed := changed_keys(stored, config_yaml, (*PLACE, *may_differ)):
            raise ConfigError(
                f"{self.root}: --resume with another configuration ({'; '.join(changed[:5])}); "
                f"use --config {self.config}, or choose another name="
            )

    def _stored(self) -> str:
        """The run's configuration, as it was written."""
        with storage_errors(self.config):
            return self.config.read_text("utf-8", errors="replace")

    def _names(self) -> list[str]:
        return [p.name for p in self.root.iterdir() if not p.name.startswith(".")]

    def _claim(self) -> None:
        lock = self._lock_it("a+")
        lock.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        lock.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
        lock.flush()
        self._lock = lock

    def _lock_it(self, mode: str) -> IO[str]:
        with storage_errors(self.root):
            lock = (self.root / ".lock").open(mode, encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            raise StorageError(
                f"{self.root}: in use by {owner}; wait for it, or choose another name="
            ) from None
        return lock
