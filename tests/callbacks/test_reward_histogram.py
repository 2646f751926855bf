"""Quantiles of rewards in metrics.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest

from rl4bio.callbacks.loggers.build import MetricsCSV
from rl4bio.callbacks.reward_histogram import RewardHistogram


def test_quantiles_of_each_reward(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run_steps([RewardHistogram()], steps=2, loggers=[MetricsCSV(path)])
    row = list(csv.DictReader(path.open()))[1]
    # length: 0, 0.5, 1 and one NaN. Linear between the sorted values at (n - 1) * q.
    assert float(row["reward/length_p05"]) == pytest.approx(0.05)
    assert float(row["reward/length_p50"]) == pytest.approx(0.5)
    assert float(row["reward/length_p95"]) == pytest.approx(0.95)
    assert float(row["reward/length_unscored_fraction"]) == 0.25
    # verdict 0, 1, 1, 1: at 0.15 of the way from 0 to 1; the total is twice that.
    assert float(row["reward/verdict_p05"]) == pytest.approx(0.15)
    assert float(row["reward/total_p05"]) == pytest.approx(0.30)
    assert float(row["reward/total_p50"]) == 2


def test_nothing_scored(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run_steps([RewardHistogram()], rewards=[[math.nan] * 4], loggers=[MetricsCSV(path)])
    row = next(iter(csv.DictReader(path.open())))
    assert math.isnan(float(row["reward/verdict_p50"]))
    assert float(row["reward/verdict_unscored_fraction"]) == 1


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="every: got 0"):
        RewardHistogram(every=0)
