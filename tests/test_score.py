"""Tests of `rl4bio score`: files in, files out, exit codes."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rl4bio.score import main
from rl4bio.text.redaction import safe_cell

CONFIG = """\
name: score_test
policy: {checkpoint: some-model}
data: {name: pubmedqa, options: {source: ori_pqal.json}}
rewards:
  - {name: verdict, weight: 1.0}
  - {name: structure, weight: 0.5}
  - {name: grounding, weight: 0.5}
  - {name: long_answer, weight: 0.25}
"""
ROW: dict[str, Any] = {
    "id": "12",
    "question": "Does zinc shorten colds?",
    "context": ["Zinc acetate was given to 99 adults.", "Symptoms ended after 4.5 days."],
    "label": "yes",
    "long_answer": "Symptoms ended sooner with zinc acetate.",
    "completion": "<thought>Symptoms ended after 4.5 days.</thought><answer>yes</answer>",
}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Score a text; returns the exit code, stdout, stderr and the rows written (None: no file)."""

    def run(text: str | bytes, *overrides: str) -> tuple[int, str, str, list[Any] | None]:
        config, source, target = (tmp_path / n for n in ("c.yaml", "in.jsonl", "out.jsonl"))
        config.write_text(CONFIG, encoding="utf-8")
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
        files = ["--completions", str(source), "--output", str(target)]
        code = main(["--config", str(config), *files, *overrides])
        out, err = capsys.readouterr()
        rows = target.read_text(encoding="ascii").splitlines() if target.exists() else None
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
        return code, out, err, None if rows is None else [json.loads(row) for row in rows]

    return run


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_rows_and_summary(run: Any) -> None:
    wrong = {**ROW, "id": 7, "context": "\n".join(ROW["context"]), "completion": "I say no. So: no"}
    code, out, err, rows = run(lines(ROW, wrong))
    assert (code, err) == (0, "")
    assert list(rows[0]) == [
        "id", "rewards", "total", "verdict", "verdict_lenient", "format_ok",
        "structure", "grounding", "long_answer",
    ]  # fmt: skip
    assert rows[0]["grounding"] == rows[0]["rewards"]["grounding"]
    assert (rows[0]["id"], rows[0]["format_ok"]) == ("12", True)
    assert rows[0]["verdict"] == rows[0]["verdict_lenient"] == "yes"
    # One of two sentences quoted is more than two fifths of the context but no more than half.
    parts = rows[0]["rewards"]
    assert parts["verdict"] == parts["structure"] == 1.0
    assert 0 < parts["grounding"] <= 1
    assert 0 < parts["long_answer"] <= 1
    total = 1 + 0.5 + 0.5 * parts["grounding"] + 0.25 * parts["long_answer"]
    assert rows[0]["total"] == pytest.approx(total)
    assert rows[1] == {
        "id": 7,
        "rewards": dict.fromkeys(parts, 0.0),
        "total": 0.0,
        "verdict": None,
        "verdict_lenient": "no",
        "format_ok": False,
        **{name: 0.0 for name in parts if name != "verdict"},
    }
    table = {line[:28].strip(): line[28:].split() for line in out.splitlines()}
    assert table["verdict"] == ["0.500", "2"]
    assert table["verdict found, strict"] == ["0.500", "2"]
    assert table["verdict found, lenient"] == ["1.000", "2"]
    assert table["accuracy, strict"] == ["0.500", "2"]
    assert table["accuracy if found, strict"] == ["1.000", "1"]
    assert table["accuracy if found, lenient"] == ["0.500", "2"]


@pytest.mark.parametrize("null", [True, False])
def test_unknown_label_and_long_answer_give_null(null: bool, run: Any) -> None:
    bare = {key: ROW[key] for key in ("id", "question", "context", "completion")}
    row = {**bare, "label": None, "long_answer": None} if null else bare
    code, out, _, rows = run(lines(row))
    assert code == 0
    assert rows[0]["rewards"]["verdict"] is None
    assert rows[0]["rewards"]["long_answer"] is None
    assert rows[0]["total"] == pytest.approx(0.5 + 0.5 * rows[0]["rewards"]["grounding"])
    assert "accuracy, strict                   -        0" in out


def test_overrides_change_the_weights(run: Any) -> None:
    _, _, _, plain = run(lines(ROW))
    _, _, _, changed = run(lines(ROW), "rewards.0.weight=3")
    assert changed[0]["total"] == pytest.approx(plain[0]["total"] + 2)


def test_duplicate_ids_order_and_odd_line_ends_are_fine(run: Any) -> None:
    rows = [{**ROW, "id": name} for name in ("b", "a", "b", "é\u2028")]
    text = "\ufeff" + lines(*rows).replace("\n", "\r\n") + "\n\n"
    code, _, _, written = run(text)
    assert code == 0
    assert [row["id"] for row in written] == ["b", "a", "b", "é\u2028"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "in.jsonl:1: the file is empty"),
        (lines(ROW) + "{bad\n", "in.jsonl:2:2: "),
        (lines(ROW) + "\n" + lines(ROW), "in.jsonl:2: a blank line"),
        (lines(ROW)[:-9], "in.jsonl:1:"),
        ("[1]\n", "in.jsonl:1: [1] is not a record"),
        (lines(ROW) + '{"id": NaN}', "in.jsonl:2: NaN is not JSON"),
        (lines(ROW) + "[" * 100_000, "in.jsonl:2: nested too deeply"),
        (lines(ROW).encode() + b'{"id": "\xff"}', "in.jsonl:2: byte 0xff is not UTF-8"),
        (lines(ROW, {**ROW, "id": None}), "in.jsonl:2: id is None"),
        (lines(ROW, {**ROW, "id": True}), "in.jsonl:2: id is True"),
        (lines({**ROW, "label": "Yes"}), "label is 'Yes'; expected yes, no, maybe or null"),
        (lines({**ROW, "label": 1}), "label is 1; expected"),
        (lines({**ROW, "context": None}), "context is None; expected a text or a list"),
        (lines({**ROW, "context": ["a", 1]}), "context is ['a', 1]; expected"),
        (lines({**ROW, "question": 3}), "question is 3; expected a text"),
        (lines({**ROW, "long_answer": 3}), "long_answer is 3; expected a text"),
        (lines({**ROW, "completion": "\ud800"}), "completion holds '\\ud800', half a character"),
        (lines({k: v for k, v in ROW.items() if k != "completion"}), "completion is missing"),
    ],
)
def test_bad_rows_end_with_file_line_and_reason(text: str | bytes, message: str, run: Any) -> None:
    code, _, err, rows = run(text)
    assert code == 3
    assert err.startswith("rl4bio: error[data]: ")
    assert err.count("\n") == 1
    assert message in err
    assert rows is None


BAD = [
    '{"id": 7, "completion": "cut',
    "",
    "[1, 2]",
    json.dumps({**ROW, "label": "?"}),
    json.dumps({key: ROW[key] for key in ("id", "question", "context")}),
    '{"id": 3, "completion": NaN}',
]


def test_bad_lines_are_skipped_counted_and_named(run: Any) -> None:
    mixed = [json.dumps(ROW), *BAD, json.dumps({**ROW, "id": "last"})]
    code, out, err, rows = run("\n".join(mixed) + "\n", "--bad-lines", "skip")
    assert (code, err) == (0, "")
    assert [row["id"] for row in rows] == ["12", "last"]
    summary = out.splitlines()
    start = summary.index("6 of 8 lines skipped:")
    assert summary[-1].startswith("2 rows written to ")
    for number, line in zip(
        sorted((2, 3, 4, 5, 6, 7)), sorted(summary[start + 1 : -1]), strict=True
    ):
        assert re.match(rf"  .*in\.jsonl:{number}[: ]", line), line
    plain = run(lines(ROW, {**ROW, "id": "last"}))
    assert rows == plain[3]
    assert "lines skipped" not in plain[1]


def test_more_bad_lines_than_are_named(run: Any) -> None:
    code, out, _, rows = run(lines(ROW, *[{**ROW, "label": "?"}] * 30), "--bad-lines=skip")
    assert (code, len(rows)) == (0, 1)
    assert "30 of 31 lines skipped:" in out
    assert out.count("label is '?'") == 10
    assert "  and 20 more" in out


@pytest.mark.parametrize("bad", BAD)
def test_bad_lines_stop_a_run_without_the_option_or_without_a_good_one(bad: str, run: Any) -> None:
    text = f"{json.dumps(ROW)}\n{bad}\n{json.dumps(ROW)}\n"
    for options in ([], ["--bad-lines", "stop"]):
        code, _, err, rows = run(text, *options)
        assert (code, rows) == (3, None)
        assert "in.jsonl:2" in err
    if bad:
        code, _, err, rows = run(f"{bad}\n{bad}\n", "--bad-lines", "skip")
        assert (code, rows) == (3, None)
        assert "in.jsonl:1" in err


def test_what_generate_writes_of_prompts(run: Any) -> None:
    """It holds no label and no context: what needs them is null, the rest is scored."""
    asked = [{"role": "user", "content": "Is it so?"}]
    row = {"id": 1, "prompt": asked, "completion": ROW["completion"], "truncated": False}
    code, _, _, rows = run(lines(row, {**row, "id": 2, "prompt": "Is it?"}))
    assert code == 0
    parts = {"verdict": None, "structure": 1.0, "grounding": None, "long_answer": None}
    assert [found["rewards"] for found in rows] == [parts, parts]
    assert [found["verdict"] for found in rows] == ["yes", "yes"]


def test_a_table_is_scored_as_its_lines_are(tmp_path: Path, run: Any, capsys: Any) -> None:
    flat = {**ROW, "context": "\n".join(ROW["context"])}
    wild = {**flat, "id": "9", "label": "", "completion": '=1+1, "quoted"\nline'}
    plain = run(lines(flat, {**wild, "label": None}))
    source, target = tmp_path / "in.csv", tmp_path / "csv_out.jsonl"
    with source.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(flat))
        writer.writerow({name: name.upper() for name in flat})
        for row in (flat, wild):
            writer.writerow(
                {name: safe_cell(text) if "\n" not in text else text for name, text in row.items()}
            )
    files = ["--completions", str(source), "--output", str(target)]
    assert main(["--config", str(tmp_path / "c.yaml"), *files]) == 0
    assert [json.loads(line) for line in target.read_text().splitlines()] == plain[3]
    capsys.readouterr()


def test_many_bad_rows_are_counted(run: Any) -> None:
    code, _, err, _ = run(lines(*[{**ROW, "label": "?"}] * 12))
    assert code == 3
    assert "in.jsonl:10: label" in err
    assert "in.jsonl:11: label" not in err
    assert err.rstrip().endswith("and 2 more")


def test_a_failed_run_leaves_the_old_output(run: Any) -> None:
    _, _, _, before = run(lines(ROW))
    code, _, _, after = run("{bad")
    assert code == 3
    assert after == before


def test_wrong_paths_and_configurations(tmp_path: Path, capsys: Any) -> None:
    config, source = tmp_path / "c.yaml", tmp_path / "in.jsonl"
    config.write_text(CONFIG, encoding="utf-8")
    source.write_text(lines(ROW), encoding="utf-8")

    def code_of(completions: Path, output: Path, *overrides: str) -> tuple[int, str]:
        files = ["--completions", str(completions), "--output", str(output)]
        code = main(["--config", str(config), *files, *overrides])
        return code, capsys.readouterr().err

    out = tmp_path / "out.jsonl"
    assert code_of(tmp_path / "none.jsonl", out)[0] == 3
    assert code_of(source, source)[0] == 2
    assert code_of(source, tmp_path / "none" / "out.jsonl")[0] == 7
    assert code_of(source, out, "rewards=[]")[0] == 2
    code, err = code_of(source, out, "rewards.1.name=verdict")
    assert code == 2
    assert "rewards[1].name: 'verdict' is" in err
    assert source.read_text(encoding="utf-8") == lines(ROW)


def test_the_module_runs_without_torch(tmp_path: Path) -> None:
    config, source, out = (tmp_path / n for n in ("c.yaml", "in.jsonl", "out.jsonl"))
    config.write_text(CONFIG, encoding="utf-8")
    source.write_text(lines(ROW), encoding="utf-8")
    program = (
        "import sys; from rl4bio.score import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    files = ["--config", str(config), "--completions", str(source), "--output", str(out)]
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text(encoding="utf-8"))["verdict"] == "yes"
