"""Tests of `rl4bio score` on molecules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rl4bio.generation.molecules import MoleculeRow, csv_lines
from rl4bio.score import main

CONFIG = """\
name: score_test
policy: {checkpoint: some-model}
data: {name: pubmedqa, options: {source: unread.json}}
rewards:
  - name: combined
    options:
      parts: [{name: qed, weight: 2}, {name: sa}]
      filters: [{name: pains}]
  - {name: scaffold_diversity, weight: 0.5}
"""
ROWS: list[dict[str, Any]] = [
    {"id": "a", "completion": "CC(=O)Oc1ccccc1C(=O)O"},
    {"id": "b", "prefix": "O", "completion": "=C(C)Oc1ccccc1C(O)=O"},
    {"id": 3, "smiles": "CCO", "prefix": "N", "question": "unused"},
    {"id": "d", "completion": "CC("},
    {"id": "e", "completion": ""},
]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Score rows; returns the exit code, stdout, stderr and the rows written."""

    def run(rows: list[dict[str, Any]], *overrides: str) -> tuple[int, str, str, list[Any]]:
        config, source, target = (tmp_path / n for n in ("c.yaml", "in.jsonl", "out.jsonl"))
        config.write_text(CONFIG, encoding="utf-8")
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files = ["--completions", str(source), "--output", str(target)]
        code = main(["--config", str(config), *files, *overrides])
        out, err = capsys.readouterr()
        written = target.read_text(encoding="ascii").splitlines() if target.exists() else []
        return code, out, err, [json.loads(row) for row in written]

    return run


def test_rows_and_summary(run: Any) -> None:
    code, out, err, rows = run(ROWS)
    assert (code, err) == (0, "")
    assert list(rows[0]) == [
        "id", "rewards", "total", "state", "reason", "canonical", "raw",
        "combined", "scaffold_diversity",
    ]  # fmt: skip
    assert [row["id"] for row in rows] == ["a", "b", 3, "d", "e"]
    assert [row["state"] for row in rows] == ["valid", "duplicate", "valid", "invalid", "invalid"]
    assert [row["reason"] for row in rows] == ["", "", "", "syntax", "empty"]
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    assert [row["canonical"] for row in rows] == [aspirin, aspirin, "CCO", "", ""]
    raw = rows[0]["raw"]
    assert raw["combined.sa_score"] == pytest.approx((10 - raw["combined.sa"]) / 9)
    expected = (2 * raw["combined.qed"] + raw["combined.sa_score"]) / 3
    assert rows[0]["combined"] == pytest.approx(expected)
    # Two molecules share benzene, the alcohol has the empty scaffold for itself.
    assert [row["scaffold_diversity"] for row in rows] == [0.5, 0.5, 1, 0, 0]
    assert rows[0]["total"] == pytest.approx(expected + 0.25)
    # No memory here: a repeat keeps its total.
    assert {**rows[1], "id": "a", "state": "valid"} == rows[0]
    assert rows[3]["total"] == 0
    assert rows[3]["raw"]["combined.sa"] is None
    assert rows[3]["rewards"] == {"combined": 0, "scaffold_diversity": 0}
    table = {line[:28].strip(): line[28:].split() for line in out.splitlines()}
    assert table["valid"] == ["0.600", "5"]
    assert table["distinct among valid"] == ["0.667", "3"]
    assert table["scaffold_diversity"] == ["0.400", "5"]
    assert "accuracy, strict" not in table


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "in.jsonl:1: completion is missing; expected a text"),
        ({"completion": "C"}, "in.jsonl:1: id is missing"),
        ({"id": "a", "completion": 3}, "completion is 3; expected a text"),
        ({"id": "a", "smiles": None}, "smiles is None; expected a text"),
        ({"id": "a", "completion": "C", "prefix": 3}, "prefix is 3; expected a text"),
        ({"id": "a", "completion": "\ud800"}, "half a character"),
        (
            {"id": "a", "completion": "C[*:1]", "scaffold": "c1ccc([*:1])cc1[*:1]"},
            "in.jsonl:1: scaffold: 'c1ccc([*:1])cc1[*:1]' has 2 attachment points of the number 1",
        ),
    ],
)
def test_bad_rows(row: dict[str, Any], message: str, run: Any) -> None:
    code, _, err, rows = run([row])
    assert (code, rows) == (3, [])
    assert err.startswith("rl4bio: error[data]: ")
    assert message in err


def test_pieces_are_joined_to_the_scaffold_of_their_row(run: Any) -> None:
    scaffold = "OC(=O)c1ccccc1[*:1]"
    code, _, err, rows = run(
        [
            {"id": "joined", "scaffold": scaffold, "completion": "CC(=O)O[*:1]"},
            {"id": "whole", "completion": "CC(=O)Oc1ccccc1C(=O)O"},
            {"id": "no point", "scaffold": scaffold, "completion": "CC(=O)O"},
            {"id": "of a model of scaffolds", "scaffold": "c1ccccc1", "completion": "CCO"},
        ]
    )
    assert (code, err) == (0, "")
    assert [row["state"] for row in rows] == ["valid", "duplicate", "invalid", "valid"]
    assert rows[0]["canonical"] == rows[1]["canonical"] == "CC(=O)Oc1ccccc1C(=O)O"
    assert rows[0]["combined"] == rows[1]["combined"] > 0 == rows[2]["total"]


def test_a_missing_reference_set_ends_before_any_row(run: Any) -> None:
    option = 'rewards.1={"name": "novelty", "options": {"file": "nowhere.smi"}}'
    code, _, err, rows = run(ROWS, option)
    assert (code, rows) == (3, [])
    assert "nowhere.smi: cannot be read" in err


def test_bad_options_name_the_key(run: Any) -> None:
    code, _, err, _ = run(ROWS, "rewards.0.options.parts.0.name=qde")
    assert code == 2
    assert "rewards[0].options.parts[0].name: unknown reward 'qde'; did you mean 'qed'?" in err


def test_molecules_are_scored_without_torch(tmp_path: Path) -> None:
    config, source, out = (tmp_path / n for n in ("c.yaml", "in.jsonl", "out.jsonl"))
    config.write_text(CONFIG, encoding="utf-8")
    source.write_text(json.dumps(ROWS[0]), encoding="utf-8")
    program = (
        "import sys; from rl4bio.score import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    files = ["--config", str(config), "--completions", str(source), "--output", str(out)]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text(encoding="utf-8"))["state"] == "valid"


WRITTEN = ["CC(=O)Oc1ccccc1C(=O)O", "O=C(C)Oc1ccccc1C(O)=O", "CC(", "", "=CC", "CCO"]


@pytest.mark.parametrize("form", ["csv", "smi"])
def test_what_generate_writes_of_molecules(
    form: str, tmp_path: Path, run: Any, capsys: Any
) -> None:
    """Rows in order, without ids: their numbers; invalid and empty ones stay rows."""
    plain = run([{"id": n, "smiles": text} for n, text in enumerate(WRITTEN, start=1)])
    source, target = tmp_path / f"in.{form}", tmp_path / "again.jsonl"
    if form == "smi":
        source.write_text("".join(text + "\n" for text in WRITTEN))
    else:
        rows = [MoleculeRow(smiles=t, canonical="", state="valid", logprob=-1.0) for t in WRITTEN]
        source.write_text("smiles,canonical,state,logprob\n" + csv_lines(rows))
    files = ["--completions", str(source), "--output", str(target)]
    assert main([str(tmp_path / "c.yaml"), *files]) == 0
    assert [json.loads(line) for line in target.read_text().splitlines()] == plain[3]
    assert "6 rows written" in capsys.readouterr().out


def test_names_in_a_smi_file_and_no_reward_that_reads_it(
    tmp_path: Path, run: Any, capsys: Any
) -> None:
    source, target = tmp_path / "in.smi", tmp_path / "again.jsonl"
    source.write_text("CCO ethanol\nCC\tCHEMBL 1\n")
    files = ["--completions", str(source), "--output", str(target)]
    run(ROWS)
    assert main([str(tmp_path / "c.yaml"), *files]) == 0
    ids = [json.loads(line)["id"] for line in target.read_text().splitlines()]
    assert ids == ["ethanol", "CHEMBL 1"]
    capsys.readouterr()
    assert main([str(tmp_path / "c.yaml"), *files, "rewards=[{name: verdict}]"]) == 3
    assert "holds molecules, but no configured reward reads any" in capsys.readouterr().err
