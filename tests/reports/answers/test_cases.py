"""rl4bio.reports.answers.cases: the side-by-side CSV."""

from __future__ import annotations

import csv
import io
import math

import pytest

from rl4bio.answers.answer import Answer
from rl4bio.reports.answers.cases import Case, Reply, judgement, merge_draws, side_by_side_csv
from rl4bio.text.redaction import safe_cell, visible
from rl4bio.types import Sample


def case(completion: str, question: str = "Does it work?") -> Case:
    base = Answer(
        gold="yes",
        strict=None,
        lenient="yes",
        truncated=True,
        rewards={"structure": 0.25, "total": math.nan},
    )
    tuned = Answer(
        gold="yes", strict="yes", lenient="yes", rewards={"structure": 1.0, "total": -0.5}
    )
    return Case(
        sample=Sample(
            uid="10808977",
            prompt="p",
            question=question,
            context="It worked (P<0.05).",
            target="yes",
        ),
        replies={
            "base": Reply(answer=base, completion=completion),
            "tuned": Reply(
                answer=tuned, completion="<thought>It worked.</thought><answer>yes</answer>"
            ),
        },
    )


@pytest.mark.parametrize(
    "start", ["=1+1", "+1", "-2", "@SUM(A1)", " =1", "\t=1", "\n=1", "＝1", "=cmd|' /C calc'!A0"]
)
def test_formulas_are_quoted(start: str) -> None:
    assert safe_cell(start).startswith("'")
    rows = list(csv.DictReader(io.StringIO(side_by_side_csv([case(start, question=start)]))))
    assert rows[0]["base_completion"].startswith("'")
    assert rows[0]["question"].startswith("'")


@pytest.mark.parametrize("plain", ["", "yes", "5 = 5", "<answer>-1</answer>", "p - q", "'=1"])
def test_other_text_is_kept(plain: str) -> None:
    assert safe_cell(plain) == plain


def test_csv_reads_back() -> None:
    completion = 'He said "no",\nthen "yes"; p = 0.03, 25·5%'
    rows = list(csv.DictReader(io.StringIO(side_by_side_csv([case(completion), case("b")]))))
    assert len(rows) == 2
    assert rows[0]["base_completion"] == completion
    assert rows[0]["uid"] == "10808977"
    assert rows[0]["base_verdict"] == ""
    assert rows[0]["base_verdict_lenient"] == "yes"
    assert rows[0]["base_judgement"] == "no answer"
    assert rows[0]["base_truncated"] == "yes"
    assert rows[0]["base_reward_structure"] == "0.25"
    assert rows[0]["base_reward_total"] == ""  # could not be scored
    assert rows[0]["tuned_judgement"] == "right"
    assert float(rows[0]["tuned_reward_total"]) == -0.5  # our own number, no apostrophe


def test_no_cases_give_a_header_alone() -> None:
    assert side_by_side_csv([]) == '"uid","question","context","gold"\n'


def test_judgement() -> None:
    answers = [Answer(gold="no", strict=verdict, lenient=None) for verdict in ("no", "yes", None)]
    assert [judgement(answer) for answer in answers] == ["right", "wrong", "no answer"]
    assert judgement(Answer(gold=None, strict="answered", lenient=None)) == "answered"


def test_unprintable_characters_become_visible() -> None:
    assert visible("a\x00b\x1b[31m") == "a␀b␛[31m"
    assert visible("abc\u202ecba") == "abc[U+202E]cba"
    assert visible("\ud800").encode() == "\N{REPLACEMENT CHARACTER}".encode()
    assert visible("µ ≥ 5 °C\n\tü 日本") == "µ ≥ 5 °C\n\tü 日本"


def test_draws_are_merged_by_vote_and_mean() -> None:
    def draw(verdict: str | None, tokens: float, reward: float, cut: bool = False) -> Reply:
        answer = Answer(
            gold="B",
            strict=verdict,
            lenient=verdict or "B",
            tokens=tokens,
            truncated=cut,
            rewards={"choice": reward},
        )
        return Reply(answer=answer, completion=f"says {verdict} in {tokens}")

    draws = [draw(None, 40, 0, True), draw("C", 10, math.nan), draw("B", 20, 1), draw("B", 30, 1)]
    merged = merge_draws(draws)
    answer = merged.answer
    assert (answer.strict, answer.lenient, answer.right) == ("B", "B", True)
    assert (answer.num_draws, answer.num_right, answer.num_parsed) == (4, 2, 3)
    assert answer.tokens == 25
    assert answer.truncated == 0.25
    assert answer.rewards == {"choice": pytest.approx(2 / 3)}  # NaN leaves the mean
    assert merged.completion == "says B in 20"  # the first that says what the majority says
    assert merged.draws == draws
