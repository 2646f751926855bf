"""Measures of a predictor by hand, and splits that keep their promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.chem.properties import scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.predictors import report
from rl4bio.predictors.records import Measured
from rl4bio.predictors.report import HeldOut, score, similarity_bands, spearman
from rl4bio.predictors.training import TreeOptions


def vector(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=np.float64)


def test_scores_by_hand() -> None:
    found = score("random", 3, vector(4, 6, 8), vector(5, 6, 6), 5.0)
    # Errors 1, 0, -2; squares 5 against 4 + 0 + 4 around the mean 6.
    assert found.r2 == pytest.approx(1 - 5 / 8)
    assert found.mae == pytest.approx(1)
    assert found.rmse == pytest.approx(math.sqrt(5 / 3))
    assert found.constant_mae == pytest.approx((1 + 1 + 3) / 3)
    assert (found.split, found.seed, found.n) == ("random", 3, 3)
    # Ranks 1 2 3 and 1 2.5 2.5: covariance 1.5, variances 2 and 1.5.
    assert found.spearman == pytest.approx(1.5 / math.sqrt(2 * 1.5))


def test_limits() -> None:
    truth = vector(4, 6, 8, 9)
    assert score("", 0, truth, truth, 5.0).r2 == 1
    assert score("", 0, truth, np.full(4, truth.mean()), 5.0).r2 == pytest.approx(0)
    assert spearman(truth, np.exp(truth)) == pytest.approx(1)
    assert spearman(truth, -truth) == pytest.approx(-1)
    assert math.isnan(spearman(truth, np.ones(4)))
    assert math.isnan(score("", 0, np.ones(3), np.ones(3), 1.0).r2)


def test_bands_of_similarity_by_hand() -> None:
    held = HeldOut(
        truth=vector(4, 8, 6),
        predicted=vector(6, 7, 6),
        spread=vector(1, 2, 4),
        similarity=vector(0.1, 1.0, 0.7),
    )
    far, near = similarity_bands([held])
    assert (far["low"], far["high"], far["n"], far["mae"], far["bias"]) == (0, 0.2, 1, 2, 2)
    assert (near["low"], near["high"], near["n"], near["spread"]) == (0.7, 1, 2, 3)
    assert (near["mae"], near["bias"], near["constant_mae"]) == (0.5, -0.5, 1)
    # The highest fifth of three predictions, 7, is in the nearer band; its truth is 8.
    assert (far["top_n"], far["top_bias"]) == (0, None)
    assert (near["top_n"], near["top_bias"]) == (1, -1)
    assert [band["n"] for band in similarity_bands([held, held])] == [2, 4]


def test_held_out_molecules_are_unknown_to_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a learner that knows its molecules by heart, only what it was given is right."""
    texts = [f"{'C' * k}{end}" for k in range(1, 11) for end in ("c1ccccc1", "C1CCCCC1", "N", "O")]
    molecules = [read_smiles(text) for text in texts]
    values = np.arange(len(texts), dtype=np.float64)
    given: list[set[float]] = []

    class Rote:
        def __init__(self, rows: np.ndarray, known: np.ndarray) -> None:
            given.append(set(known.tolist()))

        def members(self, rows: np.ndarray) -> np.ndarray:
            return np.zeros((len(rows), 2))

    monkeypatch.setattr(report, "grow_forest", lambda rows, known, options: Rote(rows, known))
    measured = Measured(
        molecules=molecules,
        values=values,
        rows=40,
        dropped=0,
        repeats=0,
        largest_gap=0.0,
        left_out={},
        mixtures=[],
        disagreeing=0,
        unit="p",
    )
    scores, held = report.evaluate(measured, TreeOptions(), seeds=range(2))
    assert [(one.split, one.seed) for one in scores] == [
        ("random", 0), ("random", 1), ("scaffold", 0), ("scaffold", 1)
    ]  # fmt: skip
    parts = [*held["random"], *held["scaffold"]]
    for one, learnt in zip(parts, given, strict=True):
        assert len(one.truth) == 8  # a fifth of 40
        assert not learnt & set(one.truth.tolist())
        assert len(learnt) + len(one.truth) == 40
    for one, learnt in zip(held["scaffold"], given[2:], strict=True):
        rings = {scaffold(molecules[int(k)]) for k in one.truth} - {""}
        assert not rings & {scaffold(molecules[int(k)]) for k in learnt}
    table = report.table(scores)
    assert table.count("\n") == 3
    assert report.as_json(scores, held)["summary"]["random"]["r2"]["low"] <= 0
