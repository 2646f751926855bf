"""A limit of a metric ends a run, at the step in which the mean of the newest values passes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rl4bio.callbacks.stop_at import StopAt


def steps(callback: StopAt, values: list[float | None]) -> int | None:
    """The step, from 1, at which it stops; None where it does not."""
    trainer: Any = SimpleNamespace(
        callback_metrics={},
        should_stop=False,
        sanity_checking=False,
        is_global_zero=True,
        progress_bar_callback=None,
        strategy=SimpleNamespace(broadcast=lambda value, source: value),
    )
    for number, value in enumerate(values, start=1):
        trainer.callback_metrics = {} if value is None else {callback.metric: torch.tensor(value)}
        module = SimpleNamespace(iteration=number)
        if callback.metric.startswith("val/"):
            callback.on_validation_end(trainer, module)
        else:
            callback.on_train_batch_end(trainer, module, None, None, 0)
        if trainer.should_stop:
            return number
    return None


NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "values", "stop"),
    [
        ({"above": 0.5, "window": 1}, [0.1, 0.4, 0.5], 3),
        ({"above": 0.5, "window": 2}, [0.25, 0.75, 0.125, 0.25, 1.0], 2),  # (.25 + .75) / 2
        ({"above": 0.5, "window": 2}, [0.9], None),  # one value is no window
        ({"below": 0.25, "window": 1}, [0.5, 0.25], 2),
        ({"above": 0.5, "window": 1, "min_steps": 3}, [0.9, 0.9, 0.9], 3),
        ({"above": 0.5, "window": 2}, [0.6, None, NAN, 0.6], 4),
        ({"above": 0.5, "window": 1, "metric": "val/reward/total_mean"}, [0.4, 0.6], 2),
    ],
)
def test_where_it_stops(
    options: dict[str, Any], values: list[float | None], stop: int | None
) -> None:
    assert steps(StopAt(**{"metric": "reward/total_mean", **options}), values) == stop


def test_a_resumed_run_counts_on_and_takes_no_step_behind_its_end() -> None:
    first = StopAt(metric="m", above=0.5, window=3)
    assert steps(first, [0.6, 0.6]) is None
    second = StopAt(metric="m", above=0.5, window=3)
    second.load_state_dict(first.state_dict())
    assert steps(second, [0.6]) == 1
    third = StopAt(metric="m", above=0.5, window=3)
    third.load_state_dict(second.state_dict())
    trainer: Any = SimpleNamespace(should_stop=False)
    third.on_train_epoch_start(trainer, None)
    assert trainer.should_stop


@pytest.mark.parametrize("options", [{}, {"above": 1.0, "below": 0.0}])
def test_one_limit(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs one limit"):
        StopAt(metric="m", **options)
