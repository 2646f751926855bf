"""rl4bio.statistics.regression: errors, R2 and rank correlation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.answers.answer import NumberAnswer
from rl4bio.statistics.regression import r2_statistic, spearman_statistic

RNG = np.random.default_rng(3)
ONCE = np.arange(4)[None, :]


def brute_spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of mean ranks, each counted from its definition."""

    def ranks(values: np.ndarray) -> list[float]:
        return [(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values]

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def test_an_answer_that_was_not_read_counts_as_the_constant() -> None:
    assert NumberAnswer(label=2.0, said=2.5, constant=1.0).error == 0.5
    silent = NumberAnswer(label=2.0, said=math.nan, constant=1.0)
    assert (silent.told, silent.error) == (1.0, 1.0)


def test_rank_correlation_by_hand() -> None:
    # ranks 1 2 3 4 and 1 2 4 3: 1 - 6 * (0 + 0 + 1 + 1) / (4 * 15) = 0.8
    assert spearman_statistic([1, 2, 30, 40], [5, 6, 9, 8])(ONCE)[0] == pytest.approx(0.8)
    assert spearman_statistic([1, 2, 3, 4], [4, 3, 2, 1])(ONCE)[0] == pytest.approx(-1)
    assert math.isnan(spearman_statistic([1, 1, 1, 1], [4, 3, 2, 1])(ONCE)[0])


def test_ranks_are_those_of_the_resample() -> None:
    told, labels = RNG.integers(0, 8, size=20).astype(float), RNG.normal(size=20)
    index = RNG.integers(0, 20, size=(40, 20))  # items repeat, so labels tie too
    found = spearman_statistic(list(told), list(labels))(index)
    for row, value in zip(index, found, strict=True):
        assert value == pytest.approx(brute_spearman(told[row], labels[row]))


def test_r2_by_hand() -> None:
    labels = [1.0, 2.0, 3.0, 6.0]  # mean 3, spread 4 + 1 + 0 + 9 = 14
    assert r2_statistic(labels, labels)(ONCE)[0] == 1
    assert r2_statistic([3.0] * 4, labels)(ONCE)[0] == 0
    assert r2_statistic([2.0, 2.0, 3.0, 4.0], labels)(ONCE)[0] == pytest.approx(1 - (1 + 4) / 14)
    # the second resample has the labels 1 1 2 2: mean 1.5, spread 1, error 3^2 + 3^2 + 2^2 + 2^2
    index = np.array([[0, 1, 2, 3], [0, 0, 1, 1]])
    found = r2_statistic([4.0] * 4, labels)(index)
    assert found[1] == pytest.approx(1 - 26)
    assert math.isnan(r2_statistic([1.0] * 4, [2.0] * 4)(ONCE)[0])
