"""KL per completion, and the run that stops when it drifts."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from rl4bio.callbacks.kl import KLMonitor, completion_kl
from rl4bio.callbacks.loggers.build import MetricsCSV

# k3 at u = logp - ref = -1 + 1.5 = 0.5: exp(-0.5) - 1 + 0.5 = 0.10653.
K3 = math.exp(-0.5) - 0.5


def test_completion_kl() -> None:
    logprobs = torch.tensor([[-1.0, -1.0, -9.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
    ref = torch.tensor([[-1.5, -1.0, 5.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    values = completion_kl(logprobs, ref, mask)
    # Row 0: (k3(0.5) + 0) / 2; row 1: identical; row 2: no token.
    assert values[0].item() == pytest.approx(K3 / 2)
    assert values[1].item() == 0
    assert math.isnan(values[2])


def test_logged(run_steps: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run_steps([KLMonitor()], loggers=[MetricsCSV(path)])
    rows = list(csv.DictReader(path.open()))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    for name in ("mean", "p05", "p50", "p95"):
        # The empty completion has no KL and does not count.
        assert float(rows[0][f"kl/completion_{name}"]) == pytest.approx(K3)


def test_ceiling_stops_cleanly(
    run_steps: Callable[..., pl.Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    """KL by step: 0, 0, 0.1065, ...; the third passes 0.1."""
    monitor = KLMonitor(ceiling=0.1)
    trainer = run_steps([monitor], steps=20, ref_logprobs=[-1.0, -1.0, -1.5])
    assert trainer.global_step == 3
    assert "stopped at step 3, KL 0.1065" in monitor.stop_reason
    assert caplog.messages.count(monitor.stop_reason) == 1


def test_a_ceiling_that_holds(run_steps: Callable[..., pl.Trainer]) -> None:
    monitor = KLMonitor(ceiling=0.11)
    assert run_steps([monitor], steps=5).global_step == 5
    assert monitor.stop_reason == ""


def test_warns_once_per_crossing(
    run_steps: Callable[..., pl.Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    """Above at steps 2, 3 and 5: two crossings."""
    run_steps([KLMonitor(warn_above=0.1)], steps=5, ref_logprobs=[-1.0, -1.5, -1.5, -1.0, -1.5])
    said = [message for message in caplog.messages if "passes warn_above" in message]
    assert [message.split(" passes")[0][-6:] for message in said] == ["step 2", "step 5"]


def test_no_reference(
    run_steps: Callable[..., pl.Trainer], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    trainer = run_steps(
        [KLMonitor(ceiling=0.001)], steps=4, ref_logprobs=[None], loggers=[MetricsCSV(path)]
    )
    assert trainer.global_step == 4
    assert capsys.readouterr().out.count("computes no reference") == 1
    assert "kl/completion_mean" not in path.read_text()


@pytest.mark.parametrize("options", [{"ceiling": 0.0}, {"warn_above": -1}, {"histogram_every": 0}])
def test_wrong_options(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needs (a number above 0|at least 1)"):
        KLMonitor(**options)  # type: ignore[arg-type]
