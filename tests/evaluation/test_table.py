"""rl4bio.evaluation.table: the metric table as text."""

from __future__ import annotations

import math

import pytest

from rl4bio.evaluation.answers import Answer, Estimate, answer_metrics
from rl4bio.evaluation.compare import compare_answers
from rl4bio.evaluation.table import (
    MISSING,
    ResultRow,
    number_interval,
    p_text,
    percent_interval,
    plain_table,
    table_cells,
)


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
    page = plain_table([row("base", "tags", BASE), row("tuned", "tags", TUNED)], comparison)
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
