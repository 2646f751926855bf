"""rl4bio.evaluation.outputs: the summary and its files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rl4bio.errors import StorageError
from rl4bio.evaluation.answers import Answer
from rl4bio.evaluation.cases import Reply
from rl4bio.evaluation.outputs import (
    ModelReplies,
    finite,
    make_cases,
    summarize,
    write_outputs,
)
from rl4bio.types import Sample

GOLD = ["no", "no", "yes"]


def result(model: str, verdicts: list[str | None], mode: str = "tags") -> ModelReplies:
    samples = [
        Sample(uid=str(n), prompt="p", question=f"q{n}", context="c", target=gold)
        for n, gold in enumerate(GOLD)
    ]
    replies = [
        Reply(
            answer=Answer(gold=gold, strict=v, lenient=v, tokens=3, rewards={"total": math.nan}),
            completion=f"{model} says {v} \ud800",
        )
        for gold, v in zip(GOLD, verdicts, strict=True)
    ]
    return ModelReplies(model=model, mode=mode, samples=samples, replies=replies)


def test_summary_compares_only_within_the_base_mode() -> None:
    base, other = result("base", ["no", None, "yes"]), result("base", ["no"] * 3, "log-prob")
    alone = summarize([base, other], seed=0, rounds=20)
    assert alone.comparison is None
    assert [(row.model, row.mode) for row in alone.rows] == [
        ("base", "tags"),
        ("base", "log-prob"),
        ("always 'no'", "constant"),
    ]
    assert alone.rows[-1].metrics.accuracy.value == pytest.approx(2 / 3)
    elsewhere = result("tuned", ["no"] * 3, "log-prob")
    assert summarize([base, elsewhere], seed=0, rounds=20).comparison is None
    paired = summarize([base, result("tuned", ["no", "no", "no"])], seed=0, rounds=20).comparison
    assert paired is not None
    assert (paired.table.only_base, paired.table.only_tuned) == (1, 1)


def test_cases_keep_the_order_and_pair_the_models() -> None:
    results = [result("base", ["no", None, "yes"]), result("tuned", ["yes", "no", "no"])]
    cases = make_cases(results, {"2", "0"})
    assert [case.sample.uid for case in cases] == ["0", "2"]
    assert [case.replies["tuned"].answer.strict for case in cases] == ["yes", "no"]


def test_files_hold_every_item_and_no_nan(tmp_path: Path) -> None:
    results = [result("base", ["no", None, "yes"]), result("tuned", ["yes", "no", "no"])]
    folder = tmp_path / "new" / "evaluation"
    write_outputs(
        folder,
        title="t",
        facts={"data": "d"},
        summary=summarize(results, seed=0, rounds=20),
        results=results,
        cases=make_cases(results, {"1"}),
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "items.jsonl",
        "report.html",
        "side_by_side.csv",
        "summary.json",
    ]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = (folder / "items.jsonl").read_text("utf-8").splitlines()
    items = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [(item["model"], item["uid"]) for item in items] == [
        (model, uid) for model in ("base", "tuned") for uid in "012"
    ]
    assert items[1]["rewards"] == {"total": None}
    assert items[1]["completion"] == "base says None \ud800"  # even broken text comes back
    summary = json.loads((folder / "summary.json").read_text("utf-8"), parse_constant=refuse)
    assert summary["paired"]["table"]["only_base"] == 2
    assert summary["rows"][0]["metrics"]["rewards"]["total"]["value"] is None


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    results = [result("base", ["no", None, "yes"])]
    with pytest.raises(StorageError, match="cannot be written"):
        write_outputs(
            tmp_path / "file" / "evaluation",
            title="t",
            facts={},
            summary=summarize(results, seed=0, rounds=5),
            results=results,
            cases=[],
        )


def test_finite_reaches_into_nested_values() -> None:
    value = {"a": [math.nan, 1.5, {"b": math.inf}], "c": (2, "nan")}
    assert finite(value) == {"a": [None, 1.5, {"b": None}], "c": [2, "nan"]}
