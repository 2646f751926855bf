"""What a resume finds, and what it may not do."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rl4bio.callbacks.checkpoint_state import what_is_missing
from rl4bio.errors import ModelError
from rl4bio.storage.checkpoints import usable_checkpoint
from tests.test_faults.forks import Ended, table, truth


def manifest_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "MANIFEST.json").read_text())


def write_manifest(folder: Path, body: dict[str, object]) -> None:
    """A manifest whose own digest is right, whatever it says."""
    body = {key: value for key, value in body.items() if key != "sha256"}
    plain = json.dumps(body, sort_keys=True, indent=1)
    whole = {**body, "sha256": hashlib.sha256(plain.encode()).hexdigest()}
    (folder / "MANIFEST.json").write_text(json.dumps(whole, sort_keys=True, indent=1) + "\n")


def write_state(folder: Path, text: str) -> None:
    """A state of a writer that knows how manifests are made."""
    (folder / "state.json").write_text(text)
    body = manifest_of(folder)
    facts = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    body["files"]["state.json"] = facts  # type: ignore[index]
    write_manifest(folder, body)


def newer_format(folder: Path) -> None:
    write_manifest(folder, {**manifest_of(folder), "format": 2})


def names_outside(folder: Path) -> None:
    facts = {"bytes": 1, "sha256": "0" * 64}
    files = {"state.json": facts, "../../config.yaml": facts}
    write_manifest(folder, {"files": files, "format": 1, "step": 2})


def a_link(folder: Path) -> None:
    (folder / "state.json").rename(folder.parent / "moved.json")
    (folder / "state.json").symlink_to(folder.parent / "moved.json")


HURT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (
        lambda f: (f / "weights.safetensors").write_bytes(
            (f / "weights.safetensors").read_bytes()[:-1] + b"\xff"
        ),
        "weights.safetensors is damaged",
    ),
    "a newer format": (newer_format, "format '2', this version reads 1"),
    "nested for ever": (
        lambda f: (f / "MANIFEST.json").write_text("[" * 200_000),
        "MANIFEST.json is unreadable",
    ),
    "a huge manifest": (
        lambda f: (f / "MANIFEST.json").write_bytes(b" " * (50 << 20)),
        "MANIFEST.json has more than",
    ),
    "names outside": (names_outside, "does not list files"),
    "no files": (
        lambda f: write_manifest(f, {"files": [1], "format": 1, "step": {}}),
        "does not list files",
    ),
    "a link": (a_link, "state.json is no plain file"),
    "another program's state": (
        lambda f: write_state(f, json.dumps({"epoch": 3})),
        "its state is not one that a run of rl4bio has written",
    ),
    "counters that are none": (
        lambda f: write_state(
            f, json.dumps({**json.loads((f / "state.json").read_text()), "iteration": "two"})
        ),
        "its counters are no numbers",
    ),
    "a nested state": (lambda f: write_state(f, "[" * 200_000), "cannot be read (Recursion"),
}


@pytest.fixture
def begun(finished: Callable[..., tuple[Path, Ended]], tmp_path: Path) -> Path:
    """A run that was stopped behind its second step, with one checkpoint, and moved here."""
    folder = tmp_path / "runs" / "begun"
    shutil.copytree(finished("trainer.max_steps=2")[0], folder)
    (folder / "summary.json").unlink()
    return folder


@pytest.mark.parametrize("name", HURT)
def test_a_hurt_checkpoint_is_refused_with_its_reason(begun: Path, name: str) -> None:
    hurt, reason = HURT[name]
    hurt(begun / "checkpoints" / "step-00000002")
    started = time.monotonic()
    with pytest.raises(ModelError, match=re.escape(reason)):
        usable_checkpoint(begun / "checkpoints", lambda state, f: what_is_missing(state, f, ""))
    assert time.monotonic() - started < 60


def test_checkpoints_of_which_none_is_usable(
    fit: Callable[..., Ended], begun: Path, tmp_path: Path
) -> None:
    """They are refused, with the reason; nothing is touched; starting over needs a flag."""
    good = begun / "checkpoints" / "step-00000002"
    rows = (begun / "metrics.csv").read_bytes()
    hurt, reason = HURT["a nested state"]
    hurt(good)
    ended = fit("name=begun", "trainer.max_steps=2", "--resume")
    assert ended.code == 4, ended.err
    line = ended.err.splitlines()[-1]
    assert reason in line
    assert "--restart" in line
    assert "Traceback" not in ended.err
    assert (begun / "metrics.csv").read_bytes() == rows
    ended = fit("name=begun", "trainer.max_steps=2", "--restart")
    assert ended.code == 0, ended.err
    aside = begun.with_name("begun.before-1")
    assert f"the earlier run is kept in {aside}" in ended.out
    assert (aside / "metrics.csv").read_bytes() == rows
    assert table(begun / "metrics.csv") == table(aside / "metrics.csv")


def test_a_checkpoint_of_another_run(
    fit: Callable[..., Ended], begun: Path, tmp_path: Path
) -> None:
    """Of the same shapes, whole, and of the same step: only the identity tells."""
    assert fit("name=other", "trainer.max_steps=2", "seed=2").code == 0
    swapped = begun / "checkpoints" / "step-00000002"
    shutil.rmtree(swapped)
    shutil.copytree(tmp_path / "runs" / "other" / "checkpoints" / "step-00000002", swapped)
    ended = fit("name=begun", "trainer.max_steps=2", "--resume")
    assert ended.code == 4
    assert "it belongs to another run" in ended.err


def test_a_moved_folder_goes_on_where_it_is(
    begun: Path, whole: dict[str, object], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    begun.rename(moved)
    from tests.test_faults import forks

    more = [str(moved / "config.yaml"), "trainer.max_steps=5", "--resume"]
    ended = forks.run(more, tmp_path / "logs")
    assert ended.code == 0, ended.err
    assert "resuming from step 2" in ended.out
    assert not begun.exists()
    assert truth(moved) == whole


def test_a_resume_without_any_checkpoint_begins_anew(
    fit: Callable[..., Ended], begun: Path, tmp_path: Path
) -> None:
    """As after a kill before the first save: no row of the earlier try stays."""
    rows = truth(begun)
    shutil.rmtree(begun / "checkpoints")
    (begun / "completions" / "step-000007.jsonl").write_text("{}\n")
    assert fit("name=begun", "trainer.max_steps=2", "--resume").code == 0
    assert truth(begun) == rows
