"""rl4bio.evaluation.outputs: the summary and its files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rl4bio.answers.answer import Answer
from rl4bio.answers.kinds import KINDS
from rl4bio.errors import StorageError
from rl4bio.evaluation.items import Items, constant_answers
from rl4bio.evaluation.outputs import (
    ModelReplies,
    finite,
    make_cases,
    summarize,
    write_outputs,
)
from rl4bio.reports.answers.cases import Reply
from rl4bio.statistics.compare import PairedTable
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
    items = Items(kind=KINDS["verdict"], samples=base.samples)
    alone = summarize([base, other], seed=0, rounds=20, constants=constant_answers(items))
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
    assert isinstance(paired.table, PairedTable)
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
        "figures",
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


def test_every_mode_is_compared_with_itself_alone() -> None:
    results = [
        result("base", ["no", None, "yes"]),
        result("tuned", ["no", "no", "yes"]),
        result("base", ["no"] * 3, "log-prob"),
        result("tuned", ["yes"] * 3, "log-prob"),
        result("base", ["no"] * 3, "direct"),
    ]
    summary = summarize(results, seed=0, rounds=20)
    assert list(summary.comparisons) == ["tags", "log-prob"]
    tables = [found.table for found in summary.comparisons.values()]
    # tags: base 2 of 3 right, tuned all; log-prob: base the two "no", tuned the one "yes"
    assert tables[0] == PairedTable(both_right=2, only_base=0, only_tuned=1, both_wrong=0)
    assert tables[1] == PairedTable(both_right=0, only_base=2, only_tuned=1, both_wrong=0)
    assert summary.comparison is summary.comparisons["tags"]


def test_without_completions_no_text_is_written(tmp_path: Path) -> None:
    results = [result("base", ["no", None, "yes"]), result("tuned", ["yes", "no", "no"])]
    for own in results:
        for n, reply in enumerate(own.replies):
            reply.draws = [Reply(answer=reply.answer, completion=f"secret draw {n}")]
            own.samples[n].prompt = "secret prompt"
            own.samples[n].question = own.samples[n].context = "secret question"
    for folder, completions in ((tmp_path / "off", False), (tmp_path / "on", True)):
        write_outputs(
            folder,
            title="t",
            facts={},
            summary=summarize(results, seed=0, rounds=5),
            results=results,
            cases=make_cases(results, {"0", "1"}),
            completions=completions,
        )
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        texts = [path.read_text("utf-8", errors="replace") for path in files]
        found = [word for text in texts for word in ("secret", "says no") if word in text]
        assert bool(found) is completions
    lines = (tmp_path / "off" / "items.jsonl").read_text("utf-8").splitlines()
    item = json.loads(lines[0])
    assert (item["uid"], item["verdict"], item["right"]) == ("0", "no", True)
    assert item["draws"][0]["verdict"] == "no"
    assert not {"completion", "prompt"} & (item.keys() | item["draws"][0].keys())


def test_open_answers_have_no_constant_baseline_and_keep_their_gold_text() -> None:
    sample = Sample(uid="1", prompt="p", question="q", target="aortic dissection")
    answer = Answer(gold=None, strict="answered", lenient="answered", rewards={"total": 0.4})
    replies = [Reply(answer=answer, completion="c")]
    own = ModelReplies(model="base", mode="tags", samples=[sample], replies=replies)
    summary = summarize([own], labels=(), seed=0, rounds=5)
    assert [row.model for row in summary.rows] == ["base"]
    assert summary.comparison is None
