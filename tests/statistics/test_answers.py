"""rl4bio.statistics.answers: rates, F1 and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.answers.answer import Answer
from rl4bio.statistics.answers import answer_metrics
from rl4bio.statistics.bootstrap import bootstrap_interval, mean_statistic

GOLD = ["yes", "yes", "yes", "no", "no", "maybe"]
PREDICTED = ["yes", "yes", "no", "no", None, "yes"]


def answers(gold: list[str], predicted: list[str | None]) -> list[Answer]:
    return [
        Answer(gold=g, strict=p, lenient=p, tokens=4, rewards={"total": float(g == p)})
        for g, p in zip(gold, predicted, strict=True)
    ]


def test_interval_is_near_the_normal_one() -> None:
    values = [1.0] * 276 + [0.0] * 224
    low, high = bootstrap_interval(values, seed=1, rounds=4000)
    # 1.96 * sqrt(0.552 * 0.448 / 500) = 0.0436; percentile noise of 4000 rounds is about 0.002
    assert low == pytest.approx(0.552 - 0.0436, abs=0.004)
    assert high == pytest.approx(0.552 + 0.0436, abs=0.004)


def test_interval_is_seeded_and_independent_of_memory_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = list(np.random.default_rng(0).normal(size=40))
    first = bootstrap_interval(values, seed=3, rounds=500)
    monkeypatch.setattr("rl4bio.statistics.bootstrap._MAX_DRAWS", 400)  # 10 resamples at a time
    assert bootstrap_interval(values, seed=3, rounds=500) == pytest.approx(first)
    assert bootstrap_interval(values, seed=4, rounds=500) != first


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(list(rng.normal(size=100)), seed=trial, rounds=400)
        covered += low <= 0 <= high
    assert 180 <= covered <= 199  # 190 expected, sd 3.1; the percentile interval is a bit narrow


def test_interval_of_nothing_and_of_a_constant() -> None:
    assert all(math.isnan(end) for end in bootstrap_interval([], seed=0, rounds=10))
    assert all(math.isnan(end) for end in bootstrap_interval([math.nan] * 3, seed=0, rounds=10))
    assert bootstrap_interval([0.25] * 5, seed=0, rounds=10) == (0.25, 0.25)


def test_a_statistic_needs_its_size() -> None:
    with pytest.raises(ValueError, match="needs size"):
        bootstrap_interval(mean_statistic([1.0]), seed=0, rounds=10)


def test_metrics_by_hand() -> None:
    metrics = answer_metrics(answers(GOLD, PREDICTED), seed=0, rounds=200)
    assert metrics.num_items == 6
    assert metrics.parse_strict.value == pytest.approx(5 / 6)
    assert metrics.accuracy.value == pytest.approx(3 / 6)
    assert metrics.accuracy_given_parse.value == pytest.approx(3 / 5)
    assert metrics.class_f1["yes"].value == pytest.approx(4 / 6)
    assert metrics.rewards["total"].value == pytest.approx(3 / 6)
    assert metrics.tokens_mean.value == 4
    assert metrics.accuracy.low <= metrics.accuracy.value <= metrics.accuracy.high
    assert metrics.macro_f1.low <= metrics.macro_f1.value <= metrics.macro_f1.high


def test_metrics_do_not_depend_on_how_items_are_ordered() -> None:
    items = answers(GOLD, PREDICTED)
    shuffled = items[::-1]
    a = answer_metrics(items, seed=0, rounds=50)
    b = answer_metrics(shuffled, seed=0, rounds=50)
    assert a.macro_f1.value == pytest.approx(b.macro_f1.value)
    assert a.label_mix == b.label_mix


def test_lenient_answers_count_apart() -> None:
    items = [
        Answer(gold="yes", strict=None, lenient="yes", tokens=9, truncated=True),
        Answer(gold="no", strict="no", lenient="no", tokens=5),
    ]
    metrics = answer_metrics(items, seed=0, rounds=20)
    assert (metrics.parse_strict.value, metrics.parse_lenient.value) == (0.5, 1.0)
    assert (metrics.accuracy.value, metrics.accuracy_lenient.value) == (0.5, 1.0)
    assert metrics.accuracy_given_parse.value == 1.0
    assert metrics.truncated_fraction == 0.5
    assert metrics.rewards == {}


def test_a_reward_that_could_not_be_scored_leaves_the_mean() -> None:
    items = [
        Answer(gold="yes", strict="yes", lenient="yes", rewards={"total": value})
        for value in (0.2, math.nan, 0.6)
    ]
    metrics = answer_metrics(items, seed=0, rounds=20)
    assert metrics.rewards["total"].value == pytest.approx(0.4)
    assert math.isnan(metrics.tokens_mean.value)
    assert math.isnan(metrics.truncated_fraction)


def test_items_with_other_reward_parts_are_refused() -> None:
    items = [
        Answer(gold="yes", strict="yes", lenient="yes", rewards={"total": 1.0}),
        Answer(gold="yes", strict="yes", lenient="yes"),
    ]
    with pytest.raises(ValueError, match="same reward parts"):
        answer_metrics(items, seed=0, rounds=5)


def test_letters_are_labels_like_any_other() -> None:
    # gold A A B C; said A, B, B, E: E is no gold letter, so it only lowers the recall of C
    items = answers(["A", "A", "B", "C"], ["A", "B", "B", "E"])
    metrics = answer_metrics(items, labels=("A", "B", "C"), seed=0, rounds=50)
    assert metrics.accuracy.value == pytest.approx(2 / 4)
    # F1: A 2*1/(2+1), B 2*1/(1+2), C 0/(1+0)
    assert metrics.macro_f1.value == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert metrics.label_mix == pytest.approx({"A": 0.25, "B": 0.5, "C": 0, "E": 0.25, "none": 0})
    assert metrics.confusion["A"] == {"A": 1, "B": 1, "C": 0, "E": 0, "none": 0}
    assert metrics.confusion["C"]["E"] == 1


def test_open_answers_have_no_accuracy() -> None:
    items = [
        Answer(gold=None, strict=v, lenient="answered", tokens=5, rewards={"total": r})
        for v, r in (("answered", 0.5), (None, 0.0))
    ]
    metrics = answer_metrics(items, labels=(), seed=0, rounds=20)
    for undefined in (metrics.accuracy, metrics.accuracy_given_parse, metrics.macro_f1):
        assert math.isnan(undefined.value)
    assert metrics.label_mix == metrics.confusion == metrics.class_f1 == metrics.pass_at == {}
    assert (metrics.parse_strict.value, metrics.parse_lenient.value) == (0.5, 1.0)
    assert metrics.rewards["total"].value == pytest.approx(0.25)


def test_draws_give_pass_at_k_and_their_own_parse_rate() -> None:
    items = [
        Answer(gold="yes", strict="yes", lenient="yes", num_draws=4, num_right=1, num_parsed=2),
        Answer(gold="no", strict="yes", lenient="yes", num_draws=4, num_right=2, num_parsed=4),
    ]
    metrics = answer_metrics(items, seed=0, rounds=20)
    # of 4 draws 1 right: 1/4, 1 - C(3,2)/C(4,2) = 1/2; of 2 right: 1/2, 1 - C(2,2)/C(4,2) = 5/6
    assert metrics.pass_at[1].value == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert metrics.pass_at[2].value == pytest.approx((1 / 2 + 5 / 6) / 2)
    assert metrics.pass_at[4].value == 1
    assert metrics.parse_draws.value == pytest.approx((2 / 4 + 4 / 4) / 2)
    assert metrics.accuracy.value == 0.5  # of the votes
    with pytest.raises(ValueError, match="same number of draws"):
        answer_metrics([*items, Answer(gold="no", strict=None, lenient=None)], seed=0, rounds=5)
