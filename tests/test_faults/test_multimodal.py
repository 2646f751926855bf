"""Gemma 3 of the sizes that see: whole runs, taken up, and exported for plain transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf

from rl4bio.export import main as export
from tests.test_faults import forks

CHANGES = ["trainer.max_steps=3", "trainer.save_every_steps=1", "trainer.val_every_steps=0"]
CHANGES += ["grpo.kl_coef=0.1"]


@pytest.mark.usefixtures("no_traces")
def test_it_is_taken_up_and_exported(
    fit: Callable[..., forks.Ended],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = tiny_folder("gemma3 with images")
    changes = [f"policy.checkpoint={folder}", *CHANGES]
    whole, parts = (tmp_path / "runs" / name for name in ("whole", "parts"))
    ended = fit("name=whole", *changes, count_in=whole)
    assert ended.code == 0, ended.err
    assert (
        "not on model.vision_tower, model.multi_modal_projector" in (whole / "log.txt").read_text()
    )
    killed = fit("name=parts", *changes, kill_at=ended.operations // 2, count_in=parts)
    assert killed.code == 137
    assert fit("name=parts", *changes, "--resume").code == 0
    assert forks.differences(forks.truth(whole), forks.truth(parts)) == []
    assert export(["--run", str(whole), "--output", str(tmp_path / "merged")]) == 0
    model, kept = (
        hf.Gemma3ForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
        for path in (tmp_path / "merged", folder)
    )
    before, changed = kept.state_dict(), []
    for name, weight in model.state_dict().items():
        if not torch.equal(weight, before[name]):
            changed.append(name)
    assert changed
    assert all("language_model" in name and "proj" in name for name in changed)
