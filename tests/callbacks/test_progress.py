"""The progress line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.completion_table import CompletionTable
from rl4bio.callbacks.progress import RewardProgressBar, rollout_summary
from rl4bio.types import Rollout, Scores


def test_plain_lines_without_a_terminal(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([RewardProgressBar(every=2), CompletionTable(print_every=3)], steps=4)
    streams = capsys.readouterr()
    lines = [x for x in streams.err.splitlines() if x.startswith("step ")]
    # The first step, then every second one. Rewards 2, 0, 2, 2; 4 + 3 + 2 + 0 tokens over 4 rows;
    # the second group has two equal rewards.
    assert len(lines) == 3
    expected = (
        r"step 2/4 · 0:00:\d\d elapsed · 0:00:\d\d left · reward 1\.500 · kl 0\.2500 · 2 tokens · "
        r"50% equal groups"
    )
    assert re.fullmatch(expected, lines[1])
    assert [line.split(" · ")[0] for line in lines] == ["step 1/4", "step 2/4", "step 4/4"]
    assert "\x1b" not in streams.err
    assert "── step 3" in streams.out


def test_no_divergence_without_a_reference(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([RewardProgressBar(every=1)], steps=2, ref_logprobs=[None])
    err = capsys.readouterr().err
    assert "reward 1.500" in err
    assert "kl" not in err


def summary(total: list[float]) -> list[str]:
    rows = len(total)
    rollout = Rollout(
        prompt_ids=torch.ones(rows, 1),
        prompt_mask=torch.ones(rows, 1),
        completion_ids=torch.ones(rows, 2),
        completion_mask=torch.ones(rows, 2, dtype=torch.bool),
        logprobs=torch.zeros(rows, 2),
        completions=["x"] * rows,
        truncated=torch.zeros(rows, dtype=torch.bool),
        samples=[],
        group_size=2,
    )
    return rollout_summary(rollout, Scores(total=torch.tensor(total), parts={}, weights={}))


def test_unscored_rows_do_not_count() -> None:
    nan = math.nan
    assert summary([1.0, nan, 0.0, 1.0]) == ["reward 0.667", "2 tokens", "50% equal groups"]
    assert summary([nan, nan, 1.0, 1.0]) == ["reward 1.000", "2 tokens", "100% equal groups"]
    assert summary([nan, nan])[0] == "reward none"


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_last_step_always_has_its_line(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str], steps: int
) -> None:
    run_steps([RewardProgressBar(every=5)], steps=steps)
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    shown = [int(line.split()[1].split("/")[0]) for line in lines]
    assert shown == sorted({1, *range(5, steps + 1, 5), steps})
    assert all("0:00:" in line for line in lines)


def test_a_run_that_stops_early_has_its_last_line(
    run_steps: Callable[..., pl.Trainer],
    step_module: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            trainer.should_stop = module.iteration == 3

    run_steps([RewardProgressBar(every=5), Stops()], steps=9)
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    assert [line.split(" · ")[0] for line in lines] == ["step 1/9", "step 3/9"]


def test_steps_are_those_of_the_run_and_not_of_the_optimiser(
    run_steps: Callable[..., pl.Trainer],
    step_module: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three updates in each of two steps."""

    class Updates(step_module):  # type: ignore[misc]
        updates_per_step = 3

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for _ in range(2):
                self.optimizers().step()
            return super().training_step(batch, batch_idx)

    trainer = run_steps([RewardProgressBar(every=1)], steps=6, module=Updates([[1.0] * 4], [None]))
    assert trainer.global_step == 6
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("step ")]
    assert [line.split(" · ")[0] for line in lines] == ["step 1/2", "step 2/2"]


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="every: got 0"):
        RewardProgressBar(every=0)
