"""The commands that build shipped models still run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from experiments.gemma3_nano.warm_start import main


def test_the_nano_warm_start_trains_and_saves(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = str(shared_data / "medical" / "pubmedqa" / "ori_pqal.json")
    main(["--pubmedqa", records, "--output", str(tmp_path), "--minutes", "0.02", "--tokens", "900"])
    assert json.loads((tmp_path / "training.json").read_text())["steps"] >= 1
    weights = load_file(tmp_path / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
