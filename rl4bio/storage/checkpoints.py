"""Checkpoint folders: safetensors, JSON, and a manifest that proves them whole.

A folder `step-00000123` is built under a hidden name beside its place and renamed once everything
in it is on the disk, the manifest last. A kill at any moment leaves the older folders as they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl4bio.errors import ModelError, StorageError
from rl4bio.storage.files import storage_errors, sync_file

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST = "MANIFEST.json"
STATE = "state.json"
MAX_MANIFEST_BYTES = 2**20
"""One line a file, of which a checkpoint has a handful."""
MAX_STATE_BYTES = 2**28
"""Counters, the plain part of optimiser and generators, and the account of a million molecules."""
_FOLDER = re.compile(r"step-(\d{8,})")


def save_checkpoint_folder(
    root: Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write `root/step-<step>` durably, then remove the oldest folders.

    Args:
        root: the run's checkpoints folder; made where it is missing.
        step: at least 0; a folder of the same step is replaced.
        tensors: name of a safetensors file (without suffix) -> its tensors, on any device.
        state: JSON values; NaN and infinities are kept.
        keep: how many verified folders stay, at least 1. Folders that do not verify are no one's
            substitute: they neither count nor are removed.

    Raises:
        StorageError: the folder cannot be written; older checkpoints are untouched.
    """
    if keep < 1 or step < 0:
        raise ValueError(f"keep must be at least 1 and step at least 0, got {keep} and {step}")
    target = root / f"step-{step:08d}"
    building, replaced = root / f".saving-{target.name}", root / f".replaced-{target.name}"
    with storage_errors(target):
        root.mkdir(parents=True, exist_ok=True)
        for leftover in (building, replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
        try:
            building.mkdir()
            _write_folder(building, step, tensors, state)
            if target.exists():
                os.replace(target, replaced)
            os.replace(building, target)
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(building)
            raise
        sync_file(root)
        if replaced.exists():
            shutil.rmtree(replaced)
        _prune(root, keep)
    return target


def _write_folder(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    for name, values in tensors.items():
        try:
            save_file(_own_storage(values), folder / f"{name}.safetensors")
        except SafetensorError as error:  # its wrapper of "no space left on device" and the like
            raise OSError(str(error)) from error
    text = json.dumps(state)
    if len(text) > MAX_STATE_BYTES:
        raise StorageError(
            f"{folder}: {STATE} would have {len(text):,} bytes, {MAX_STATE_BYTES:,} are read back; "
            "a callback or a reward keeps too much between steps"
        )
    (folder / STATE).write_text(text, encoding="utf-8")
    files = {}
    for path in sorted(folder.iterdir()):
        sync_file(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    body = {"files": files, "format": FORMAT, "step": step}
    (folder / MANIFEST).write_text(_manifest_text(body), encoding="utf-8")
    sync_file(folder / MANIFEST)
    sync_file(folder)


def _own_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU; safetensors refuses tensors that share memory."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        address = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if address in seen else plain
        seen.add(address)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _manifest_text(body: Mapping[str, Any]) -> str:
    """The one text for a manifest, which carries its own digest, so that any changed bit shows."""
    plain = json.dumps(body, sort_keys=True, indent=1)
    digest = hashlib.sha256(plain.encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, sort_keys=True, indent=1) + "\n"


def verify_checkpoint(path: Path) -> str:
    """Why a folder is no whole checkpoint; empty where it verifies byte by byte."""
    body, problem = _read_manifest(path)
    if problem:
        return problem
    try:
        for name, facts in body["files"].items():
            if _sha256(path / name) != facts["sha256"]:
                return f"{name} is damaged (its content is not what was written)"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    return ""


def _read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """The manifest, and what is wrong with it or with the names and sizes it lists."""
    try:
        if (path / MANIFEST).stat().st_size > MAX_MANIFEST_BYTES:
            return {}, f"{MANIFEST} has more than {MAX_MANIFEST_BYTES:,} bytes"
        text = (path / MANIFEST).read_text(encoding="utf-8")
        body = json.loads(text)
        body.pop("sha256", None)
        whole = _manifest_text(body) == text
        present = {entry.name: entry.lstat().st_size for entry in path.iterdir()}
        # A link may lead out of the folder.
        kinds = {e.name for e in path.iterdir() if e.is_symlink() or not e.is_file()}
    except FileNotFoundError:
        return {}, f"{MANIFEST} is missing (the save was interrupted)"
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}, f"{MANIFEST} is unreadable"
    if not whole:
        return {}, f"{MANIFEST} is damaged"
    if body.get("format") != FORMAT:
        return {}, f"format {str(body.get('format'))[:40]!r}, this version reads {FORMAT}"
    if not _well_formed(body):
        return {}, f"{MANIFEST} does not list files with their sizes and digests"
    if kinds:
        return {}, f"{min(kinds)} is no plain file"
    del present[MANIFEST]
    for name, facts in body["files"].items():
        if name not in present:
            return {}, f"{name[:80]} is missing"
        if present[name] != facts["bytes"]:
            return {}, f"{name} has {present[name]} bytes, should have {facts['bytes']}"
    if extra := sorted(set(present) - set(body["files"])):
        return {}, f"{extra[0]} does not belong to it"
    if path.name != f"step-{body['step']:08d}":
        return {}, f"it holds step {body['step']}"
    return body, ""


def _well_formed(body: Mapping[str, Any]) -> bool:
    """Whether a manifest has the types of one: a step, and plain names with size and digest."""
    files, step = body.get("files"), body.get("step")
    if type(step) is not int or step < 0 or not isinstance(files, dict) or STATE not in files:
        return False
    return all(
        name == Path(name).name
        and isinstance(facts, dict)
        and type(facts.get("bytes")) is int
        and isinstance(facts.get("sha256"), str)
        for name, facts in files.items()
    )


def read_state(path: Path) -> Any:
    """The JSON value of a checkpoint's state.

    Raises:
        ModelError: it is too large, or no JSON.
    """
    file = path / STATE
    try:
        if file.stat().st_size > MAX_STATE_BYTES:
            raise ModelError(f"{file}: has more than {MAX_STATE_BYTES:,} bytes; not read")
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read ({type(error).__name__})") from error


def _folders(root: Path) -> list[Path]:
    """Checkpoint folders under their final names, newest step first; modification times lie."""
    if not root.is_dir():
        return []
    steps = [(int(m[1]), p) for p in root.iterdir() if (m := _FOLDER.fullmatch(p.name))]
    return [path for _, path in sorted(steps, reverse=True)]


def _prune(root: Path, keep: int) -> None:
    verified = 0
    for path in _folders(root):
        if verified < keep:
            verified += not verify_checkpoint(path)
        elif not _read_manifest(path)[1]:
            shutil.rmtree(path)


def latest_checkpoint(
    root: Path, refuse: Callable[[Any, list[str]], str] | None = None
) -> tuple[Path | None, list[str]]:
    """The newest folder that verifies, and one warning for each newer or unfinished one.

    Nothing is removed. No folder and no warning means that there is no checkpoint at all.

    Args:
        root: the run's checkpoints folder.
        refuse: why a checkpoint with this state and these tensor files is no use; "" = it is.
    """
    warnings: list[str] = []
    if root.is_dir():
        names = sorted(
            p.name for p in root.iterdir() if p.name.startswith((".saving", ".replaced"))
        )
        warnings += [f"{root / name}: left by an interrupted save; ignored" for name in names]
    for path in _folders(root):
        problem = verify_checkpoint(path)
        if not problem and refuse is not None:
            try:
                files = [file.stem for file in path.glob("*.safetensors")]
                problem = refuse(read_state(path), files)
            except ModelError as error:
                problem = str(error)
        if not problem:
            return path, warnings
        warnings.append(f"{path}: not used, {problem}")
    return None, warnings


def usable_checkpoint(
    root: Path, refuse: Callable[[Any, list[str]], str] | None = None
) -> tuple[Path | None, list[str]]:
    """`latest_checkpoint` for a run that goes on: none only where none was ever finished.

    Raises:
        ModelError: there are checkpoints, and none can be used.
    """
    found, warnings = latest_checkpoint(root, refuse)
    if found is None and _folders(root):
        reasons = "; ".join(text for text in warnings if "not used" in text)
        raise ModelError(
            f"{root}: none of the checkpoints can be used: {reasons}; put a good copy back, or "
            "start over with --restart, which keeps the old folder under another name"
        )
    return found, warnings


def load_checkpoint_folder(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors (on the CPU) and the state of a checkpoint, verified first.

    Raises:
        ModelError: there is no such folder, or it does not verify.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_dir():
        raise ModelError(f"{path}: no checkpoint folder here; look into the run's checkpoints/")
    if problem := verify_checkpoint(path):
        raise ModelError(f"{path}: {problem}; use an older checkpoint")
    try:
        tensors = {p.stem: load_file(p) for p in sorted(path.glob("*.safetensors"))}
    except (SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: no tensors can be read ({error}); use an older one") from error
    return tensors, read_state(path)
