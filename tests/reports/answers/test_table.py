"""rl4bio.reports.answers.table: the metric table as text."""

from __future__ import annotations

import math

import pytest

from rl4bio.answers.answer import Answer
from rl4bio.reports.answers.estimates import MISSING, number_interval, percent_interval
from rl4bio.reports.answers.paired_words import p_text
from rl4bio.reports.answers.table import ResultRow, plain_table, table_cells
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.bootstrap import Estimate
from rl4bio.statistics.compare import compare_answers


def answer(gold: str, verdict: str | None, **rewards: float) -> Answer:
    return Answer(gold=gold, strict=verdict, lenient=verdict, tokens=30, rewards=rewards)


BASE = [answer("yes", "yes", total=1.0), answer("no", None, total=0.0)]
TUNED = [answer("yes", "yes", total=1.0), answer("no", "no", total=1.0)]
SCORED = [Answer(gold=g, strict="yes", lenient="yes") for g in ("yes", "no")]


def row(model: str, mode: str, answers: list[Answer]) -> ResultRow:
    return ResultRow(model=model, mode=mode, metrics=answer_metrics(answers, seed=0, rounds=50))


def test_values_are_written_for_people() -> None:
    assert percent_interval(Estimate(value=0.5521, low=0.508, high=0.59649)) == "55.2 [50.8, 59.6]"
    assert number_interval(Estimate(value=-0.1, low=-0.25, high=0.05)) == "-0.100 [-0.250, 0.050]"
    undefined = Estimate(value=math.nan, low=math.nan, high=math.nan)
    assert percent_interval(undefined) == number_interval(undefined) == MISSING


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < 0.001"), (0.0386, "p = 0.039"), (1, "p = 1.000")]
)
def test_p_value_is_never_shown_as_zero(p: float, text: str) -> None:
    assert p_text(p) == text


def test_rows_without_rewards_or_text_show_a_dash() -> None:
    header, body = table_cells([row("base", "tags", BASE), row("base", "log-prob", SCORED)])
    assert all(len(cells) == len(header) for cells in body)
    generated, scored = (dict(zip(header, cells, strict=True)) for cells in body)
    assert generated["reward total"].startswith("0.500 [")
    assert generated["tokens"] == "30"
    assert generated["predicted yes/no/maybe/none %"] == "50/0/0/50"
    assert scored["reward total"] == scored["tokens"] == scored["truncated %"] == MISSING


def test_plain_table_has_both_models_and_the_paired_counts() -> None:
    comparison = compare_answers(BASE, TUNED, seed=0, rounds=50)
    rows = [row("base", "tags", BASE), row("tuned", "tags", TUNED)]
    page = plain_table(rows, {"tags": comparison})
    accuracy = next(line for line in page.splitlines() if line.startswith("accuracy %"))
    assert "50.0 [" in accuracy
    assert "100.0 [100.0, 100.0]" in accuracy
    assert "both right 1, only base 0, only tuned 1, both wrong 0" in page
    assert "exact McNemar p = 1.000" in page  # one discordant pair: 2 * 1/2
    assert "tuned minus base, accuracy: 50.0 [" in page
    assert "Compare models within one mode only" in page


def test_columns_line_up() -> None:
    page = plain_table([row("base", "tags", BASE), row("always yes", "constant", SCORED)])
    lines = page.splitlines()
    column = lines[0].index("always yes")
    assert lines[1][column:].startswith("constant")
    assert "minus" not in page


def many_rows() -> list[ResultRow]:
    letters = [Answer(gold=g, strict=p, lenient=p) for g, p in zip("ABCDE", "BBCDE", strict=True)]
    modes = [f"direct prompt, log-prob of the option, way {n}" for n in range(4)]
    names = [(model, mode) for mode in modes for model in ("base", "tuned")]
    return [
        ResultRow(
            model=model,
            mode=mode,
            metrics=answer_metrics(letters, labels="ABCDE", seed=0, rounds=50),
        )
        for model, mode in names
    ]


def test_the_terminal_table_fits_100_columns() -> None:
    comparison = compare_answers(BASE, TUNED, seed=0, rounds=50)
    page = plain_table(many_rows(), {f"mode {'long ' * 9}{n}": comparison for n in range(3)})
    assert max(map(len, page.splitlines())) <= 100
    assert page.count("accuracy %   ") >= 4  # several blocks, each with its metric names
    assert page.count("exact McNemar") == 3
    for line in page.splitlines():  # base and tuned of a mode stand beside each other
        assert not line.startswith("model  ") or line.split().count("base") == 1
        assert not line.startswith("model  ") or line.split().count("tuned") == 1


def test_a_block_leaves_out_metrics_that_none_of_it_has() -> None:
    page = plain_table([*many_rows(), row("base", "tags", BASE)])
    assert page.count("reward total") == 1


def test_open_answers_show_rewards_and_no_accuracy() -> None:
    answers = [Answer(gold=None, strict="answered", lenient=None, rewards={"semantic": 0.5})] * 2
    rows = [
        ResultRow(
            model=model, mode="tags", metrics=answer_metrics(answers, labels=(), seed=0, rounds=9)
        )
        for model in ("base", "tuned")
    ]
    header, _ = table_cells(rows)
    assert not [name for name in header if "accuracy" in name or "F1" in name or "pred" in name]
    assert "reward semantic" in header
    totals = [Answer(gold=None, strict="answered", lenient=None, rewards={"total": 0.5})] * 2
    same = compare_answers(totals, totals, labels=(), seed=0, rounds=9)
    page = plain_table(rows, {"tags": same, "draws": same})
    assert "higher total reward: base 0, tuned 0, equal 2; exact sign test p = 1.000" in page
    assert "by draws: higher total reward" in page
