"""The script for a first card: its parts on a CPU, and what it keeps when one fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu import first_minutes
from benchmarks.gpu.first_minutes import PARTS, arguments, main, markdown, run


def test_all_parts_are_there_and_fit_into_eight_minutes() -> None:
    from benchmarks.gpu import parts

    assert all(callable(getattr(parts, name)) for name in PARTS)
    assert sum(PARTS.values()) < 8 * 60


def test_parts_run_and_are_saved(tmp_path: Path) -> None:
    """Two of the parts, as a user would start them, with a tiny model."""
    wanted = ["--device", "cpu", "--tiny", "--parts", "environment,kernels"]
    assert main([*wanted, "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "first_minutes.json").read_text())
    assert list(found) == ["environment", "kernels"]
    rows = found["kernels"]["rows"]
    assert len(rows) == 12
    assert all(row["error"] < (1e-5 if row["type"] == "float32" else 0.05) for row in rows)
    text = (tmp_path / "first_minutes.md").read_text()
    assert "| gemma3 1B | float32 | True |" in text


def test_a_part_that_fails_or_is_late_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments(["--tiny", "--parts", "kernels,environment", "--output", str(tmp_path)])
    args.work = tmp_path  # on cuda, which is not here
    monkeypatch.setitem(PARTS, "kernels", 0.01)
    found = run(args)
    assert found["kernels"]["problem"].startswith("not done in")
    assert "no CUDA device is visible" in found["environment"]["problem"]
    assert json.loads((tmp_path / "first_minutes.json").read_text()) == found


def test_tables() -> None:
    rows = [{"a": 1.23456789, "b": None}, {"a": 2, "c": "x|y"}]
    text = markdown(
        {"one_part": {"seconds": 1.5, "rows": rows}, "b": {"seconds": 2, "problem": "p"}}
    )
    assert text == (
        "## one part (1.5 s)\n\n| a | b | c |\n| --- | --- | --- |\n| 1.235 |  |  |\n"
        "| 2 |  | x/y |\n\n## b (2 s)\n\np\n"
    )
    assert first_minutes.PARTS is PARTS
