"""rl4bio.statistics.ranking: AUROC, AUPRC and balanced accuracy, exact with ties."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.statistics.ranking import (
    auroc_statistic,
    average_precision_statistic,
    balanced_accuracy_statistic,
)

RNG = np.random.default_rng(5)


def once(size: int) -> np.ndarray:
    return np.arange(size)[None, :]


def brute_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    pairs = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    return float(np.mean(pairs)) if pairs else math.nan


def brute_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """The definition: at every distinct threshold, the gain in recall times the precision."""
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = scores >= threshold
        recall = positive[taken].sum() / positive.sum()
        area += (recall - before) * positive[taken].mean()
        before = recall
    return area


def test_by_hand() -> None:
    # positives .9 and .4, negatives .4 and .1: pairs 1, 1, 1/2, 1 -> 3.5/4
    scores, positive = [0.9, 0.4, 0.4, 0.1], [True, True, False, False]
    assert auroc_statistic(scores, positive)(once(4))[0] == 3.5 / 4
    # thresholds: .9 gains recall 1/2 at precision 1, .4 gains 1/2 at 2/3
    found = average_precision_statistic(scores, positive)(once(4))[0]
    assert found == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_resamples_equal_the_definition_item_by_item() -> None:
    scores = RNG.integers(0, 6, size=30).astype(float)  # many ties
    positive = RNG.random(30) < 0.4
    index = RNG.integers(0, 30, size=(50, 30))
    areas = auroc_statistic(list(scores), list(positive))(index)
    precisions = average_precision_statistic(list(scores), list(positive))(index)
    for row, area, precision in zip(index, areas, precisions, strict=True):
        assert area == pytest.approx(brute_auroc(scores[row], positive[row]))
        assert precision == pytest.approx(brute_precision(scores[row], positive[row]))


def test_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for _ in range(20):
        scores = RNG.integers(0, 12, size=40) / 4.0
        positive = RNG.random(40) < 0.3
        positive[:2] = True, False
        arguments = (list(scores), list(positive))
        area = auroc_statistic(*arguments)(once(40))[0]
        assert area == pytest.approx(metrics.roc_auc_score(positive, scores))
        precision = average_precision_statistic(*arguments)(once(40))[0]
        assert precision == pytest.approx(metrics.average_precision_score(positive, scores))


def test_only_the_order_of_scores_counts() -> None:
    scores, positive = list(RNG.normal(size=25)), list(RNG.random(25) < 0.5)
    for build in (auroc_statistic, average_precision_statistic):
        own = build(scores, positive)(once(25))[0]
        assert build([math.exp(s) for s in scores], positive)(once(25))[0] == own
    mirrored = auroc_statistic([-s for s in scores], positive)(once(25))[0]
    assert mirrored == pytest.approx(1 - auroc_statistic(scores, positive)(once(25))[0])


def test_a_constant_score_knows_nothing() -> None:
    positive = [True, False, False, False]
    assert auroc_statistic([0.3] * 4, positive)(once(4))[0] == 0.5
    assert average_precision_statistic([0.3] * 4, positive)(once(4))[0] == 0.25


def test_one_class_is_undefined() -> None:
    index = np.array([[0, 0], [0, 1], [1, 1]])
    areas = auroc_statistic([1.0, 2.0], [True, False])(index)
    assert list(np.isnan(areas)) == [True, False, True]
    precision = average_precision_statistic([1.0, 2.0], [True, False])(index)
    assert list(np.isnan(precision)) == [False, False, True]
    recall = balanced_accuracy_statistic(["A", "B"], ["A", "A"], ("A", "B"))(index)
    assert list(np.isnan(recall)) == [True, False, True]


def test_balanced_accuracy_is_the_mean_recall() -> None:
    gold = ["A", "B", "B", "B", "B"]
    # A: 1/1; B: 1/4, the missing answer is wrong
    found = balanced_accuracy_statistic(gold, ["A", "B", "A", None, "A"], ("A", "B"))(once(5))[0]
    assert found == (1 + 1 / 4) / 2
    assert balanced_accuracy_statistic(gold, ["B"] * 5, ("A", "B"))(once(5))[0] == 0.5
