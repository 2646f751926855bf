"""The folder of a run: where each output goes, and who may write there."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import yaml

from rl4bio.errors import ConfigError, StorageError
from rl4bio.storage.files import storage_errors, write_atomic

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
        self.checkpoints = root / "checkpoints"
        self.adapter = root / "adapter"
        self.model = root / "model"
        self.summary = root / "summary.json"
        self.report = root / "report.html"
        self.card = root / "README.md"
        self.log = root / "log.txt"
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
        files = (self.metrics, self.molecules, self.adapter, self.model, self.summary)
        folders = (self.checkpoints, self.completions)
        return any(path.exists() for path in files) or any(
            any(folder.glob("[!.]*")) for folder in folders
        )

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
        if not resume and self.trained:
            raise StorageError(
                f"{self.root}: a run of this name exists; add --resume to continue it, or choose "
                "another name="
            )
        if not resume:
            return  # its run ended before the first step
        with storage_errors(self.config):
            stored = self.config.read_text(encoding="utf-8")
        changed = changed_keys(stored, config_yaml, may_differ)
        if changed:
            raise ConfigError(
                f"{self.root}: --resume with another configuration ({'; '.join(changed[:5])}); "
                f"use --config {self.config}, or choose another name="
            )

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


def changed_keys(stored: str, wanted: str, may_differ: Sequence[str] = ()) -> list[str]:
    """Dotted keys whose values differ between two YAML texts, as `key: old -> new`."""
    old, new = (dict(leaves(yaml.safe_load(text))) for text in (stored, wanted))
    return [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
        and not _same_place(old.get(key), new.get(key))
        and not any(key == free or key.startswith(f"{free}.") for free in may_differ)
    ]


def _same_place(old: Any, new: Any) -> bool:
    """Whether two values are one path: relative and absolute, or of a folder that has moved."""
    if not isinstance(old, str) or not isinstance(new, str):
        return False
    if os.path.isabs(old) == os.path.isabs(new):
        moved = os.path.isabs(old) and not os.path.exists(old) and os.path.exists(new)
        return moved and Path(old).name == Path(new).name
    return os.path.abspath(old) == os.path.abspath(new)


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything inside mappings and lists that has no inside itself."""
    if not isinstance(value, dict | list) or not value:
        yield key, value
        return
    for name, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(child, f"{key}.{name}" if key else str(name))
