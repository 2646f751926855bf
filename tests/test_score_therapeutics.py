"""Tests of `rl4bio score` on answers to therapeutic tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rl4bio.score import main

CONFIG = """\
name: score_test
policy: {checkpoint: some-model}
data: {name: pubmedqa, options: {source: unread.json}}
rewards:
  - {name: option}
  - {name: bin, weight: 0.5}
  - {name: reactants}
"""
OPTION = {
    "id": "o", "kind": "option", "task": "BBB_Martins", "target": "A", "completion": " (A)",
    "options": {"A": "does not cross", "B": "crosses"}, "class_share": {"A": 0.2, "B": 0.8},
}  # fmt: skip
BIN = {
    "id": "b", "kind": "bin", "target": "400", "completion": " 450", "label": 1.0,
    "scale": {"low": -1.4, "high": 4.6}, "constant": {"bin": 500, "mae": 100},
}  # fmt: skip
REACTANTS = {
    "id": 3, "kind": "reactants", "target": "CN.OC(C)=O", "input": "CNC(C)=O",
    "completion": "<reasoning>An amide.</reasoning><answer>CC(=O)O.CN</answer>",
    "answer_form": "tags",
}  # fmt: skip
DESIGN = {"id": "d", "kind": "design", "completion": "CC(=O)Oc1ccccc1C(=O)O", "input": "CCO"}


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


def test_each_kind_is_scored_by_its_reward(run: Any) -> None:
    common = {**OPTION, "target": "B", "completion": "(B) crosses"}
    unread = {**REACTANTS, "completion": "CN.OC(C)=O"}
    unknown = {**OPTION, "target": None}
    code, out, err, rows = run([OPTION, common, BIN, REACTANTS, unread, unknown])
    assert (code, err) == (0, "")
    assert list(rows[0]) == [
        "id", "rewards", "total", "kind", "answer", "raw", "option", "bin", "reactants",
    ]  # fmt: skip
    # A right B is worth 0.2 / 0.8; the bin is half of the constant's error off.
    assert [row["option"] for row in rows] == [1, 0.25, None, None, None, None]
    assert [row["bin"] for row in rows] == [None, None, 0.5, None, None, None]
    assert [row["reactants"] for row in rows] == [None, None, None, 1, 0, None]
    assert [row["total"] for row in rows] == [1, 0.25, 0.25, 1, 0, None]
    assert [row["answer"] for row in rows] == [
        "(A)", "(B) crosses", "450", "CC(=O)O.CN", None, "(A)",
    ]  # fmt: skip
    # Bin 450 is -1.4 + 0.45 * 6 = 1.3.
    assert rows[2]["raw"]["bin_error"] == pytest.approx(0.3)
    table = {line[:28].strip(): line[28:].split() for line in out.splitlines()}
    assert table["option"] == ["0.625", "2"]
    assert table["answer found"] == ["0.833", "6"]


def test_molecules_among_other_tasks(run: Any) -> None:
    copy = {**DESIGN, "completion": "OCC"}
    novel = 'rewards.2={"name": "novelty", "options": {"input": true}}'
    code, out, err, rows = run([DESIGN, OPTION, copy, DESIGN], novel)
    assert (code, err) == (0, "")
    assert [row["state"] for row in rows] == ["valid", "other", "valid", "duplicate"]
    assert [row["novelty"] for row in rows] == [1, None, 0, 1]
    assert [row["option"] for row in rows] == [None, 1, None, None]
    table = {line[:28].strip(): line[28:].split() for line in out.splitlines()}
    assert table["valid"] == ["1.000", "3"]
    assert table["distinct among valid"] == ["0.667", "3"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**OPTION, "kind": "choice"}, "kind is 'choice'; expected option, bin, reactants, design"),
        ({"id": 1, "completion": "C"}, "in.jsonl:2: kind is missing; expected option, bin"),
        ({**OPTION, "options": ["a", "b"]}, "options is ['a', 'b']; expected an object of letters"),
        ({**OPTION, "options": {"A": 1}}, "options is {'A': 1}; expected an object of letters"),
        ({**OPTION, "class_share": {"A": True}}, "class_share is {'A': True}; expected an object"),
        ({**OPTION, "target": 1}, "target is 1; expected a text"),
        ({**OPTION, "answer_form": "xml"}, "answer_form is 'xml'; expected tags or plain"),
        ({**BIN, "label": "1"}, "label is '1'; expected a number"),
        ({**BIN, "scale": {"low": 1}}, "scale is {'low': 1}; expected an object of low and high"),
        ({**BIN, "scale": {"low": 1, "high": 1}}, "expected an object of low and high, low below"),
        ({**BIN, "constant": {}}, "constant is {}; expected an object such as {mae: 120}"),
        ({**DESIGN, "input": 3}, "input is 3; expected a SMILES"),
        ({**DESIGN, "completion": None}, "completion is None; expected a text"),
    ],
)
def test_bad_rows(row: dict[str, Any], message: str, run: Any) -> None:
    code, _, err, rows = run([OPTION, row])
    assert (code, rows) == (3, [])
    assert err.startswith("rl4bio: error[data]: ")
    assert message in err


def test_what_a_reward_lacks_is_named(run: Any) -> None:
    code, _, err, rows = run([{**BIN, "constant": None}])
    assert (code, rows) == (6, [])
    assert "sample b: needs a target of three digits or 1000 and a constant.mae above 0" in err
