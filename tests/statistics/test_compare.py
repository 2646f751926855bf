"""rl4bio.statistics.compare: the paired table and its test."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from rl4bio.answers.answer import Answer
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.compare import (
    PairedTable,
    RewardTable,
    compare_answers,
    mcnemar_exact,
    paired_table,
)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0),  # no discordant pair says nothing
        (1, 0, 1.0),  # 2 * 1/2
        (0, 5, 0.0625),  # 2 / 2^5
        (2, 10, 0.03857421875),  # 2 * (1 + 12 + 66) / 4096
        (4, 4, 1.0),  # 2 * 163 / 256 is above 1
    ],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, expected: float) -> None:
    assert mcnemar_exact(only_a, only_b) == expected


def test_mcnemar_is_symmetric_and_equals_the_binomial_sum() -> None:
    for a in range(12):
        for b in range(12):
            n = a + b
            tail = sum(Fraction(math.comb(n, k), 2**n) for k in range(min(a, b) + 1))
            assert mcnemar_exact(a, b) == mcnemar_exact(b, a) == min(1.0, float(2 * tail))


def test_mcnemar_of_large_counts_is_finite() -> None:
    # z = 200 / sqrt(5000) = 2.83 -> p about 0.0047
    assert mcnemar_exact(2400, 2600) == pytest.approx(0.0047, abs=3e-4)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="needs at least 0"):
        mcnemar_exact(-1, 3)


def test_paired_table_by_hand() -> None:
    base = [True, True, False, False, False]
    tuned = [True, False, True, True, False]
    assert paired_table(base, tuned) == PairedTable(
        both_right=1, only_base=1, only_tuned=2, both_wrong=1
    )


def said(gold: str, verdict: str | None, total: float = 0.0) -> Answer:
    return Answer(gold=gold, strict=verdict, lenient=verdict, rewards={"total": total})


def test_comparison_by_hand() -> None:
    base = [said("yes", "yes", 0.5), said("no", None, 0.0), said("no", "yes", math.nan)]
    tuned = [said("yes", "yes", 0.6), said("no", "no", 0.9), said("no", "no", 1.0)]
    result = compare_answers(base, tuned, seed=0, rounds=300)
    assert result.table == PairedTable(both_right=1, only_base=0, only_tuned=2, both_wrong=0)
    assert result.p_value == 0.5  # 2 / 2^2
    assert result.differences["accuracy"].value == pytest.approx(2 / 3)
    assert result.differences["parse_strict"].value == pytest.approx(1 / 3)
    # base F1: yes 2*1/(1+2) = 2/3, no 0 -> 2/9; tuned: yes 1, no 1, maybe absent 0 -> 2/3
    assert result.differences["macro_f1"].value == pytest.approx(2 / 3 - 2 / 9)
    # the item whose base total is missing leaves the pair: (0.1 + 0.9) / 2
    assert result.differences["reward_total"].value == pytest.approx(0.5)


def test_a_gain_in_form_alone_shows_in_the_strict_accuracy_only() -> None:
    loose = [Answer(gold="yes", strict=None, lenient="yes"), said("no", "yes")]
    strict = [said("yes", "yes"), said("no", "yes")]
    differences = compare_answers(loose, strict, seed=0, rounds=20).differences
    assert differences["accuracy"].value == differences["parse_strict"].value == 0.5
    assert differences["accuracy_lenient"].value == 0


def test_a_model_against_itself_differs_by_nothing() -> None:
    answers = [said("yes", v, 0.3) for v in ("yes", "no", None, "yes")]
    result = compare_answers(answers, answers, seed=0, rounds=100)
    assert result.p_value == 1.0
    for difference in result.differences.values():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_paired_interval_is_narrower_than_the_two_apart() -> None:
    # 100 items; tuned keeps all of base's answers and gains 10: sd of the paired difference is
    # sqrt(.1 * .9 / 100) = 0.03, of two independent rates about sqrt(2 * .25 / 100) = 0.07
    base = [said("yes", "yes" if i < 50 else "no") for i in range(100)]
    tuned = [said("yes", "yes" if i < 60 else "no") for i in range(100)]
    gain = compare_answers(base, tuned, seed=0, rounds=2000).differences["accuracy"]
    alone = answer_metrics(base, seed=0, rounds=2000).accuracy
    assert gain.value == pytest.approx(0.10)
    assert gain.low > 0
    assert gain.high - gain.low < 0.7 * (alone.high - alone.low)


def test_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        compare_answers([said("yes", "yes")], [said("no", "yes")], seed=0, rounds=5)


def test_without_totals_there_is_no_reward_difference() -> None:
    bare = [Answer(gold="yes", strict="yes", lenient="yes")]
    assert "reward_total" not in compare_answers(bare, bare, seed=0, rounds=5).differences


def test_open_questions_are_compared_by_their_rewards() -> None:
    def scored(*totals: float) -> list[Answer]:
        return [
            Answer(gold=None, strict="answered", lenient="answered", rewards={"total": total})
            for total in totals
        ]

    base, tuned = scored(0.1, 0.5, 0.2, math.nan, 0.3), scored(0.4, 0.5, 0.6, 1.0, 0.2)
    result = compare_answers(base, tuned, labels=(), seed=0, rounds=50)
    assert result.table == RewardTable(higher_base=1, higher_tuned=2, equal=1)
    assert result.p_value == 1.0  # 2 * (1 + 3) / 2^3
    assert set(result.differences) == {"parse_strict", "reward_total"}
    assert result.differences["reward_total"].value == pytest.approx((0.3 + 0 + 0.4 - 0.1) / 4)


def test_gains_of_lengths_rewards_and_draws_by_hand() -> None:
    def drawn(num_right: int, tokens: float, choice: float) -> Answer:
        return Answer(
            gold="A",
            strict="A",
            lenient="A",
            tokens=tokens,
            truncated=0.5,
            rewards={"choice": choice},
            num_draws=4,
            num_right=num_right,
            num_parsed=num_right,
        )

    base, tuned = [drawn(1, 10, 0.25), drawn(0, 20, 0)], [drawn(2, 30, 0.5), drawn(4, 40, 1)]
    gains = compare_answers(base, tuned, labels=("A",), seed=0, rounds=20).differences
    assert gains["tokens"].value == 20
    assert gains["truncated"].value == 0
    assert gains["reward_choice"].value == pytest.approx(0.625)
    assert gains["pass@1"].value == gains["parse_draws"].value == pytest.approx(0.625)
    # of 4 draws: 1 right 1/2, 2 right 5/6, 0 right 0, 4 right 1
    assert gains["pass@2"].value == pytest.approx(((5 / 6 - 1 / 2) + 1) / 2)
    assert "grounding" not in gains
    with pytest.raises(ValueError, match="numbers of draws"):
        compare_answers(base, [said("A", "A"), said("A", "A")], labels=("A",), seed=0, rounds=5)
