"""What callbacks share: values over all ranks, quantiles, and where histograms and tables go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from rl4bio.callbacks.loggers.mlflow_run import MLflowRun
from rl4bio.callbacks.loggers.wandb_run import WandbRun

T = TypeVar("T")

QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def step_of(trainer: pl.Trainer, module: pl.LightningModule) -> int:
    """Number of the training step that just ended, from 1; the module's own count where it has one.

    `trainer.global_step` counts optimiser steps, of which a rollout may have several.
    """
    iteration = getattr(module, "iteration", None)
    if isinstance(iteration, int):
        return iteration
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def over_ranks(module: pl.LightningModule, values: Tensor) -> Tensor:
    """The values of all ranks, one after the other, in float32.

    Args:
        module: attached to a trainer; every rank must call with the same number of values.
        values: float [N].

    Returns:
        float [N * world size], on the CPU.
    """
    gathered = module.all_gather(values.detach().float().to(module.device))
    return gathered.reshape(-1).cpu()  # type: ignore[union-attr]


def rows_of_ranks(trainer: pl.Trainer, rows: list[T]) -> list[T]:
    """The rows of all ranks, one rank after the other; every rank must call.

    Args:
        trainer: of the run.
        rows: plain values, any number.
    """
    if trainer.world_size == 1 or not torch.distributed.is_initialized():
        return rows
    found: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(found, rows)
    return [row for part in found for row in part]


def quantiles(name: str, values: Tensor) -> dict[str, float]:
    """The 5th, 50th and 95th percentile as `<name>_p05` and so on; NaN where there is no value.

    Args:
        name: metric to which the percentiles belong.
        values: float [N]; NaN entries do not count.
    """
    known = values[~values.isnan()]
    if not len(known):
        return {f"{name}_{suffix}": float("nan") for suffix in QUANTILES}
    points = torch.quantile(known, torch.tensor(list(QUANTILES.values())))
    return {f"{name}_{s}": float(v) for s, v in zip(QUANTILES, points, strict=True)}


def was_sent(logger: Any, step: int) -> bool:
    """Whether a run that was resumed had sent the step already (`go_back`)."""
    return isinstance(logger, WandbRun | MLflowRun) and step <= logger.sent_to


def log_histogram(trainer: pl.Trainer, name: str, values: Tensor, step: int) -> None:
    """Send a histogram to W&B and TensorBoard, from rank 0; NaN entries are left out."""
    known = values[~values.isnan()]
    if not trainer.is_global_zero or not len(known):
        return
    for logger in trainer.loggers:
        if was_sent(logger, step):
            continue
        if isinstance(logger, WandbLogger):
            import wandb

            shown = wandb.Histogram(known.tolist())
            row = {name: shown, "trainer/global_step": step}
            attempt(logger, lambda run=logger, row=row: run.experiment.log(row))
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(name, known, step)


def log_table(
    trainer: pl.Trainer,
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    step: int,
) -> None:
    """Send a table to W&B and MLflow, or as text to TensorBoard, from rank 0."""
    if not trainer.is_global_zero or not rows:
        return
    for logger in trainer.loggers:
        if was_sent(logger, step):
            continue
        if isinstance(logger, WandbLogger):
            table = {"key": name, "columns": list(columns), "data": [list(r) for r in rows]}
            attempt(logger, logger.log_text, **table, step=step)
        elif isinstance(logger, TensorBoardLogger):
            # Four blanks make Markdown show model text as it is.
            lines = [f"    {c}: {v!r}" for row in rows for c, v in zip(columns, row, strict=True)]
            logger.experiment.add_text(name, "\n".join(lines), step)
        elif isinstance(logger, MLflowRun):
            logger.log_table(name, columns, rows)


def attempt(logger: Any, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
    """Call a logger; a failure of W&B's does not end the run."""
    if isinstance(logger, WandbRun):
        logger.attempt(call, *arguments, **named)
    else:
        call(*arguments, **named)


def say(trainer: pl.Trainer, text: str) -> None:
    """Print on rank 0 without tearing a progress bar."""
    if not trainer.is_global_zero:
        return
    if trainer.progress_bar_callback is not None:
        trainer.progress_bar_callback.print(text)
    else:
        print(text, flush=True)
