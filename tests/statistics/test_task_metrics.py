"""rl4bio.statistics.task_metrics, and what tables, comparisons and files make of them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from rl4bio.answers.answer import Answer, NumberAnswer
from rl4bio.evaluation.outputs import ModelReplies, make_cases, summarize, write_outputs
from rl4bio.evaluation.task_outputs import write_tasks
from rl4bio.reports.answers.cases import Reply
from rl4bio.reports.answers.paired_words import paired_brief, paired_counts
from rl4bio.reports.answers.table import plain_table, table_cells
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.compare import ErrorTable, PairedTable, compare_answers, error_table
from rl4bio.statistics.task_metrics import task_statistics
from rl4bio.types import Sample

ROUNDS = 50


def letter(gold: str, said: str | None, odds: float = math.nan, **measures: float) -> Answer:
    return Answer(
        gold=gold, strict=said, lenient=said, positive="B", log_odds=odds, measures=measures
    )


def number(label: float, said: float, constant: float = 2.0) -> Answer:
    told = NumberAnswer(label=label, said=said, constant=constant)
    strict = None if math.isnan(said) else "500"
    return Answer(gold=None, strict=strict, lenient=strict, number=told)


# log-odds of B; the second B is below the A
LETTERS = [letter("B", "B", 2.0), letter("A", "B", 1.0), letter("B", "A", -1.0)]
NUMBERS = [number(1.0, 1.5), number(2.0, 4.0), number(5.0, math.nan), number(4.0, 4.0)]


def more(answers: list[Answer], labels: tuple[str, ...] = ()) -> dict[str, float]:
    statistics = task_statistics(answers)
    metrics = answer_metrics(answers, labels=labels, seed=0, rounds=ROUNDS, more=statistics)
    return {name: found.value for name, found in metrics.more.items()}


def test_letters_by_hand() -> None:
    found = more(LETTERS, ("A", "B"))
    assert list(found) == ["balanced_accuracy", "auroc", "auprc", "brier"]
    assert found["balanced_accuracy"] == 0.25  # of A 0/1, of B 1/2
    assert found["auroc"] == 0.5  # one of two B above the A
    assert found["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    chances = [1 / (1 + math.exp(-odds)) for odds in (2.0, 1.0, -1.0)]
    squares = [(chances[0] - 1) ** 2, chances[1] ** 2, (chances[2] - 1) ** 2]
    assert found["brier"] == pytest.approx(sum(squares) / 3)


def test_written_letters_have_no_ranking_and_other_questions_nothing() -> None:
    written = [letter("A", "A", reasoning_words=4), letter("B", None, reasoning_words=0)]
    assert more(written, ("A", "B")) == {"balanced_accuracy": 0.5, "reasoning_words": 2}
    assert more([Answer(gold="yes", strict="yes", lenient="yes")], ("yes",)) == {}
    assert task_statistics([]) == {}


def test_huge_odds_are_no_overflow() -> None:
    sure = [letter("B", "B", 800.0), letter("A", "A", -800.0)]
    assert more(sure, ("A", "B"))["brier"] == 0


def test_numbers_by_hand() -> None:
    found = more(NUMBERS)
    # the third was not read and counts as 2: errors 0.5, 2, 3, 0
    assert found["mae"] == pytest.approx(5.5 / 4)
    assert found["mae_read"] == pytest.approx(2.5 / 3)
    # told 1.5 4 2 4 against 1 2 5 4; labels' spread about 3: 4 + 1 + 4 + 1 = 10
    assert found["r2"] == pytest.approx(1 - (0.25 + 4 + 9 + 0) / 10)
    # ranks 1 3.5 2 3.5 against 1 2 4 3, both about 2.5
    assert found["spearman"] == pytest.approx((2.25 - 0.5 - 0.75 + 0.5) / math.sqrt(4.5 * 5))


def test_numbers_are_compared_by_who_is_nearer() -> None:
    assert error_table([1, 2, 3, 3], [0, 2, 4, 5]) == ErrorTable(
        nearer_base=2, nearer_tuned=1, equal=1
    )
    exact = [
        number(answer.number.label, answer.number.label) for answer in NUMBERS if answer.number
    ]
    found = compare_answers(NUMBERS, exact, labels=(), seed=0, rounds=ROUNDS)
    assert found.table == ErrorTable(nearer_base=0, nearer_tuned=3, equal=1)
    assert found.p_value == 0.25  # 2 / 2^3
    assert found.differences["mae"].value == pytest.approx(-5.5 / 4)
    assert found.differences["r2"].value == pytest.approx(13.25 / 10)
    assert paired_counts(found).startswith("nearer to the label: base 0, tuned 3, equal 1; exact s")
    assert "tuned minus base, MAE: -1.375 [" in paired_brief(found, "greedy")


def test_letters_gain_in_ranking() -> None:
    right = [letter(str(a.gold), a.gold, 3.0 if a.gold == "B" else -3.0) for a in LETTERS]
    found = compare_answers(LETTERS, right, labels=("A", "B"), seed=0, rounds=ROUNDS)
    assert found.table == PairedTable(both_right=1, only_base=0, only_tuned=2, both_wrong=0)
    assert found.differences["auroc"].value == 0.5
    assert found.differences["balanced_accuracy"].value == 0.75
    text = paired_brief(found, "log-prob")
    assert "tuned minus base, AUROC: 0.500" in text
    none = compare_answers(LETTERS, LETTERS, labels=("A", "B"), seed=0, rounds=ROUNDS)
    gain = none.differences["auroc"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)  # the same resamples on both sides


def replies(model: str, mode: str, answers: list[Answer], without: str = "") -> ModelReplies:
    samples = [Sample(uid=f"{n}", prompt="p", target=a.gold) for n, a in enumerate(answers)]
    return ModelReplies(
        model=model,
        mode=mode,
        samples=samples,
        replies=[Reply(answer=answer) for answer in answers],
        without=without,
    )


def test_what_reasoning_adds_is_a_comparison_inside_one_model(tmp_path: Path) -> None:
    full = replies("tuned", "generated", [letter("B", "B"), letter("A", "A"), letter("B", "B")])
    bare = replies(
        "tuned", "bare", [letter("B", "B"), letter("A", None), letter("B", "A")], "generated"
    )
    other = replies("base", "bare", bare.answers, "generated")  # with nothing to compare it with
    summary = summarize([full, bare, other], labels=("A", "B"), seed=0, rounds=ROUNDS)
    assert list(summary.reasoning) == ["tuned, generated"]
    found = summary.reasoning["tuned, generated"]
    assert found.table == PairedTable(both_right=1, only_base=0, only_tuned=2, both_wrong=0)
    text = " ".join(plain_table(summary.rows, summary.comparisons, summary.reasoning).split())
    assert "what reasoning adds to tuned, generated: both right 1, only without 0" in text
    assert "with minus without, accuracy: 66.7 [" in text
    write_outputs(
        tmp_path,
        title="t",
        facts={},
        summary=summary,
        results=[full, bare],
        cases=make_cases([full], {"0"}),
    )
    record = json.loads((tmp_path / "summary.json").read_text())
    assert record["reasoning"]["tuned, generated"]["table"]["only_tuned"] == 2
    assert "what reasoning adds to tuned" in (tmp_path / "report.html").read_text()


def test_numbers_have_their_columns_cases_and_constants(tmp_path: Path) -> None:
    base, tuned = NUMBERS, [number(1.0, 1.0), number(2.0, 5.0), number(5.0, 5.0), number(4.0, 4.0)]
    constant = [number(a.number.label, 2.0) for a in NUMBERS if a.number]
    results = [replies("base", "greedy", base), replies("tuned", "greedy", tuned)]
    summary = summarize(
        results, labels=(), seed=0, rounds=ROUNDS, constants={"training median 2": constant}
    )
    header, rows = table_cells(summary.rows)
    assert {"MAE", "MAE if read", "Spearman", "R2", "parsed %"} < set(header)
    assert "accuracy %" not in header
    assert [row[0] for row in rows] == ["base", "tuned", "training median 2"]
    assert rows[2][header.index("Spearman")] == "–"  # a constant has no ranks
    cases = make_cases(results, {"0", "1", "2", "3"})
    write_outputs(tmp_path, title="t", facts={}, summary=summary, results=results, cases=cases)
    page = (tmp_path / "report.html").read_text()
    outcomes = ("tuned is nearer", "base is nearer", "equally near")
    assert [page.count(f"<td>{outcome}</td>") for outcome in outcomes] == [2, 1, 1]
    for wanted in ("MAE: mean abs",):
        assert wanted in page
    lines = (tmp_path / "items.jsonl").read_text().splitlines()
    assert json.loads(lines[2])["value"] is None
    assert json.loads(lines[0])["label"] == 1.0
    write_tasks(tmp_path / "tasks.csv", {"Caco2": summary})
    table = list(csv.DictReader((tmp_path / "tasks.csv").open(encoding="utf-8")))
    assert [row["model"] for row in table] == ["base", "tuned", "training median 2"]
    assert float(table[0]["mae"]) == pytest.approx(1.375, abs=1e-3)
    assert table[0]["accuracy"] == ""
