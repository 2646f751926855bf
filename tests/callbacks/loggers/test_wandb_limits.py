"""A logger that fails or hangs costs a warning and seconds, and gets no step twice."""

from __future__ import annotations

import time

import pytest

from rl4bio.callbacks.loggers import wandb_run
from rl4bio.callbacks.loggers.build import go_back
from rl4bio.callbacks.loggers.wandb_run import WandbRun


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> WandbRun:
    monkeypatch.setenv("WANDB_MODE", "offline")
    return WandbRun(save_dir=str(tmp_path), project="p", offline=True)


def test_after_a_failure_nothing_is_sent(
    logger: WandbRun, monkeypatch: pytest.MonkeyPatch, package_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wandb_run, "LIMIT_S", 0.2)
    logger.attempt(time.sleep, 30)
    logger.attempt(pytest.fail, "called again")
    logger.log_metrics({"a": 1.0}, 1)
    assert logger.failed
    assert package_log.text.count("W&B fails (no answer within 0.2 s); training goes on") == 1


def test_steps_that_were_sent_are_not_sent_again(
    logger: WandbRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(
        "lightning.pytorch.loggers.WandbLogger.log_metrics",
        lambda self, metrics, step: sent.append(step),
    )
    go_back(logger, 2, sent_to=4)
    for step in (3, 4, 5):
        logger.log_metrics({"a": 1.0}, step)
    assert sent == [5]
