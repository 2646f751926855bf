"""Which steps are logged."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from rl4bio.callbacks.loggers.build import MetricsCSV
from rl4bio.callbacks.step_logging import StepLogging


def steps_of(path: Path) -> list[int]:
    with path.open(newline="") as stream:
        return [int(row["step"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize(
    ("every", "steps", "logged"),
    [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (2, 4, [2, 4]), (10, 1, [1]), (10, 7, [7])],
)
def test_every_nth_step_and_the_last(
    run_steps: Callable[..., pl.Trainer],
    tmp_path: Path,
    every: int,
    steps: int,
    logged: list[int],
) -> None:
    path = tmp_path / "metrics.csv"
    run_steps([StepLogging(every=every)], steps=steps, loggers=[MetricsCSV(path)])
    assert steps_of(path) == logged


class StopsAt(pl.Callback):
    """Stops in the middle of step 3, or in the validation behind it."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self._stop)

    def _stop(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.iteration == 3:
            trainer.should_stop = True


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_end"])
def test_the_last_step_of_a_run_that_stops_early(
    run_steps: Callable[..., pl.Trainer], step_module: Any, tmp_path: Path, hook: str
) -> None:
    class Validated(step_module):  # type: ignore[misc]
        def val_dataloader(self) -> Any:
            return DataLoader(torch.zeros(1, 1))

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val/reward_mean", 0.5)
            self.log("step", float(self.iteration))

    path = tmp_path / "metrics.csv"
    callbacks = [StopsAt(hook), StepLogging(every=10)]
    run_steps(
        callbacks,
        steps=9,
        loggers=[MetricsCSV(path)],
        module=Validated([[1.0] * 4], [None]),
        val_check_interval=3,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
    )
    rows = list(csv.DictReader(path.open(newline="")))
    assert [row["step"] for row in rows] == ["3"]
    assert rows[0]["val/reward_mean"] == "0.5"
    assert rows[0]["train/kl"] == "0.25"


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="every: got 0"):
        StepLogging(every=0)
