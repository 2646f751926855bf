"""The completions of each step on the disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from rl4bio.callbacks.completions import CompletionWriter
from rl4bio.errors import StorageError
from rl4bio.storage.step_records import step_files


def test_one_file_a_step(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    folder = tmp_path / "completions"
    folder.mkdir()
    (folder / "step-000002.jsonl").write_text("left by a run that was killed\n")
    run_steps([CompletionWriter(str(folder))], steps=3)
    assert sorted(p.name for p in folder.iterdir()) == [f"step-00000{i}.jsonl" for i in (1, 2, 3)]
    rows = [json.loads(x) for x in (folder / "step-000002.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["2/0", "2/1", "2/2", "2/3"]
    assert [row["prompt"] for row in rows] == ["pmid0", "pmid0", "pmid1", "pmid1"]
    assert rows[0] == {
        "id": "2/0",
        "prompt": "pmid0",
        "completion": "<thought>the rate fell by half</thought><answer>yes</answer>",
        "rewards": {"verdict": 1.0, "length": 0.0},
        "total": 2.0,
        "advantage": 1.0,
        "tokens": 4,
        "truncated": True,
        "question": "Does it help, 0?",
        "target": "yes",
    }
    assert ["question" in row for row in rows] == [True, False, True, False]  # once a prompt
    assert rows[2]["rewards"]["length"] is None


def test_a_long_run_keeps_some_steps(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    run_steps([CompletionWriter(str(tmp_path), keep_steps=4)], steps=7)
    # The newest two, and of 1 .. 7 every fourth.
    assert list(step_files(tmp_path)) == [1, 5, 6, 7]


def test_no_folder(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"step-000001\.jsonl: cannot be written"):
        run_steps([CompletionWriter(str(tmp_path / "gone"))])


def test_molecules_have_state_and_raw_values(
    run_steps: Callable[..., pl.Trainer], step_module: Any, tmp_path: Path
) -> None:
    class Molecules(step_module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            outputs = super().training_step(batch, batch_idx)
            outputs["scores"].states = ["valid", "invalid", "duplicate", "seen"]
            outputs["scores"].raw = {"sa": [1.5, math.nan, 2.5, 3.5]}
            return outputs

    module = Molecules([[1.0, 0.0, 1.0, 1.0]], [None])
    run_steps([CompletionWriter(str(tmp_path))], steps=1, module=module)
    text = (tmp_path / "step-000001.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["state"] for row in rows] == ["valid", "invalid", "duplicate", "seen"]
    assert [row["raw"] for row in rows] == [{"sa": value} for value in (1.5, None, 2.5, 3.5)]
