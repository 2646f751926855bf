"""rl4bio.evaluation.answers: rates, F1 and their intervals."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from rl4bio.evaluation.answers import (
    LABELS,
    Answer,
    accuracy,
    answer_metrics,
    bootstrap_interval,
    label_mix,
    macro_f1,
    majority_label,
    mean_statistic,
    per_class_f1,
)

GOLD = ["yes", "yes", "yes", "no", "no", "maybe"]
PREDICTED = ["yes", "yes", "no", "no", None, "yes"]


def answers(gold: list[str], predicted: list[str | None]) -> list[Answer]:
    return [
        Answer(gold=g, strict=p, lenient=p, tokens=4, rewards={"total": float(g == p)})
        for g, p in zip(gold, predicted, strict=True)
    ]


def test_accuracy_counts_no_answer_as_wrong() -> None:
    # right: items 0, 1, 3 of 6
    assert accuracy(GOLD, PREDICTED) == pytest.approx(3 / 6)


def test_f1_by_hand() -> None:
    f1 = per_class_f1(GOLD, PREDICTED)
    # yes: 2 hits, 3 gold, 3 predicted -> 4/6; no: 1 hit, 2 gold, 2 predicted -> 2/4; maybe: 0 hits
    assert f1 == {"yes": pytest.approx(4 / 6), "no": pytest.approx(0.5), "maybe": 0.0}
    assert macro_f1(GOLD, PREDICTED) == pytest.approx((4 / 6 + 0.5 + 0) / 3)


def test_f1_of_an_absent_class_is_zero_and_counts_in_the_macro_mean() -> None:
    # scikit-learn: f1_score(["yes", "no"], ["yes", "no"], labels=LABELS, average="macro",
    # zero_division=0) == (1 + 1 + 0) / 3
    assert macro_f1(["yes", "no"], ["yes", "no"]) == pytest.approx(2 / 3)


def test_f1_matches_precision_and_recall_written_out() -> None:
    rng = random.Random(0)
    for _ in range(50):
        gold = [rng.choice(LABELS) for _ in range(17)]
        predicted = [rng.choice([*LABELS, None]) for _ in range(17)]
        for label, value in per_class_f1(gold, predicted).items():
            hits = sum(g == p == label for g, p in zip(gold, predicted, strict=True))
            precision = hits / predicted.count(label) if label in predicted else 0.0
            recall = hits / gold.count(label) if label in gold else 0.0
            both = precision + recall
            assert value == pytest.approx(2 * precision * recall / both if both else 0.0)


def test_always_yes_on_the_official_test_labels(shared_data: Path) -> None:
    truth = json.loads((shared_data / "medical/pubmedqa/test_ground_truth.json").read_text())
    gold = list(truth.values())
    assert majority_label(gold) == "yes"
    always = ["yes"] * len(gold)
    # 276 of 500; F1(yes) = 2 * 276 / (276 + 500) = 0.7113, over three classes 0.2371
    assert accuracy(gold, always) == pytest.approx(0.552)
    assert macro_f1(gold, always) == pytest.approx(2 * 276 / 776 / 3)


def test_human_annotators_reach_the_published_scores(shared_data: Path) -> None:
    folder = shared_data / "medical/pubmedqa"
    records = json.loads((folder / "ori_pqal.json").read_text())
    truth = json.loads((folder / "test_ground_truth.json").read_text())
    predicted = [records[pmid]["reasoning_required_pred"] for pmid in truth]
    # Jin et al., 2019, table of human performance on the test set: 78.0 accuracy, 72.2 macro-F1
    assert accuracy(list(truth.values()), predicted) == pytest.approx(0.780, abs=5e-4)
    assert macro_f1(list(truth.values()), predicted) == pytest.approx(0.722, abs=5e-4)


def test_unknown_gold_label_is_refused() -> None:
    with pytest.raises(ValueError, match="'perhaps' is not one of yes, no, maybe"):
        per_class_f1(["perhaps"], ["yes"])


def test_label_mix_adds_up() -> None:
    mix = label_mix(PREDICTED)
    assert mix == pytest.approx({"yes": 3 / 6, "no": 2 / 6, "maybe": 0, "none": 1 / 6})


def test_majority_label_on_a_tie_is_the_first_label() -> None:
    assert majority_label(["maybe", "no", "no", "maybe"]) == "no"


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
    monkeypatch.setattr("rl4bio.evaluation.answers._MAX_DRAWS", 400)  # 10 resamples at a time
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
