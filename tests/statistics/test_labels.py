"""rl4bio.statistics.labels: F1, mix and confusion."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rl4bio.statistics.labels import (
    LABELS,
    accuracy,
    confusion_counts,
    f1_statistic,
    label_mix,
    per_class_f1,
)

GOLD = ["yes", "yes", "yes", "no", "no", "maybe"]
PREDICTED = ["yes", "yes", "no", "no", None, "yes"]


def test_accuracy_counts_no_answer_as_wrong() -> None:
    # right: items 0, 1, 3 of 6
    assert accuracy(GOLD, PREDICTED) == pytest.approx(3 / 6)


def macro_f1_of(gold: list[str], predicted: list, labels: Sequence[str] = LABELS) -> float:
    """Of all items, as the evaluation counts it."""
    return float(f1_statistic(gold, predicted, labels)(np.arange(len(gold))[None, :])[0])


def test_f1_by_hand() -> None:
    f1 = per_class_f1(GOLD, PREDICTED)
    # yes: 2 hits, 3 gold, 3 predicted -> 4/6; no: 1 hit, 2 gold, 2 predicted -> 2/4; maybe: 0 hits
    assert f1 == {"yes": pytest.approx(4 / 6), "no": pytest.approx(0.5), "maybe": 0.0}
    assert macro_f1_of(GOLD, PREDICTED) == pytest.approx((4 / 6 + 0.5 + 0) / 3)


def test_f1_of_an_absent_class_is_zero_and_counts_in_the_macro_mean() -> None:
    # scikit-learn: f1_score(["yes", "no"], ["yes", "no"], labels=LABELS, average="macro",
    # zero_division=0) == (1 + 1 + 0) / 3
    assert macro_f1_of(["yes", "no"], ["yes", "no"]) == pytest.approx(2 / 3)


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
    always = ["yes"] * len(gold)
    # 276 of 500; F1(yes) = 2 * 276 / (276 + 500) = 0.7113, over three classes 0.2371
    assert accuracy(gold, always) == pytest.approx(0.552)
    assert macro_f1_of(gold, always) == pytest.approx(2 * 276 / 776 / 3)


def test_human_annotators_reach_the_published_scores(shared_data: Path) -> None:
    folder = shared_data / "medical/pubmedqa"
    records = json.loads((folder / "ori_pqal.json").read_text())
    truth = json.loads((folder / "test_ground_truth.json").read_text())
    predicted = [records[pmid]["reasoning_required_pred"] for pmid in truth]
    # Jin et al., 2019, table of human performance on the test set: 78.0 accuracy, 72.2 macro-F1
    assert accuracy(list(truth.values()), predicted) == pytest.approx(0.780, abs=5e-4)
    assert macro_f1_of(list(truth.values()), predicted) == pytest.approx(0.722, abs=5e-4)


def test_unknown_gold_label_is_refused() -> None:
    with pytest.raises(ValueError, match="'perhaps' is not one of yes, no, maybe"):
        per_class_f1(["perhaps"], ["yes"])


def test_label_mix_adds_up() -> None:
    mix = label_mix(PREDICTED)
    assert mix == pytest.approx({"yes": 3 / 6, "no": 2 / 6, "maybe": 0, "none": 1 / 6})


def test_letters_as_labels() -> None:
    gold, predicted = ["A", "B", "B"], ["A", "C", None]
    assert per_class_f1(gold, predicted, ("A", "B")) == {"A": 1.0, "B": 0.0}
    assert macro_f1_of(gold, predicted, ("A", "B")) == 0.5
    mix = label_mix(predicted, ("A", "B"))
    assert mix == pytest.approx({"A": 1 / 3, "B": 0, "C": 1 / 3, "none": 1 / 3})


def test_confusion_counts_every_item_once() -> None:
    counts = confusion_counts(GOLD, PREDICTED)
    assert counts["yes"] == {"yes": 2, "no": 1, "maybe": 0, "none": 0}
    assert counts["no"] == {"yes": 0, "no": 1, "maybe": 0, "none": 1}
    assert sum(sum(row.values()) for row in counts.values()) == len(GOLD)
