"""What people see of completions."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.completion_table import CompletionTable
from rl4bio.types import Rollout, Scores


def test_prints_a_completion_with_its_rewards(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([CompletionTable(print_every=4)], steps=4)
    said = capsys.readouterr().out
    first, fourth = said.split("── step 4, ")
    # Step 1 shows row 1: its escape sequence must not reach the terminal.
    assert "── step 1, sample pmid0 (3 tokens)" in first
    assert "completion  no\\x1b[31m" in first
    assert "\x1b" not in said
    assert "rewards     verdict 0.000 · length 1.000 · total 0.000" in first
    # Step 4 shows row 0, which the length limit cut off.
    assert fourth.startswith("sample pmid0 (4 tokens, cut off)")
    assert "question    Does it help, 0?" in fourth
    assert "target      yes" in fourth


def test_a_reward_that_could_not_be_given(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([CompletionTable(print_every=2)], steps=2)
    assert "length not scored" in capsys.readouterr().out


def test_silent(run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]) -> None:
    run_steps([CompletionTable(print_every=0, every=0)], steps=3)
    assert "sample" not in capsys.readouterr().out


def test_long_text_is_cut(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([CompletionTable(print_every=4, print_characters=40)], steps=4)
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("completion")]
    # Row 0 has 60 characters: its first 30, five of an ellipsis, its last 5.
    assert max(len(line) for line in lines) == len("completion  ") + 40


def test_table_rows_are_spread_over_the_groups(four_rows: Rollout) -> None:
    scores = Scores(total=torch.arange(4.0), parts={}, weights={})
    columns, rows = CompletionTable(rows=2)._table(four_rows, scores, 3)
    assert columns == ["step", "question", "target", "completion", "total"]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        (3, "Does it help, 0?", 0.0),
        (3, "Does it help, 1?", 2.0),
    ]


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="rows: got 0, needs at least 1"):
        CompletionTable(rows=0)
