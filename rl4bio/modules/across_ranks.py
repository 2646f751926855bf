"""What a module does with the other ranks: sums, values, gradients, and weights that they share."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, TypeVar

import lightning as L
import torch
from torch import Tensor, nn

from rl4bio.engine.sharding import make_whole, shard, shards_of
from rl4bio.errors import ConfigError
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.policy import Policy

log = logging.getLogger("rl4bio")

T = TypeVar("T")


class AcrossRanks(L.LightningModule):
    """A module whose ranks train one policy: each with all of its weights, or with a share."""

    policy: Policy
    model: nn.Module

    @property
    def sharded(self) -> bool:
        """Whether each rank holds its share of the weights alone."""
        return shards_of(self.model) is not None

    def configure_model(self) -> None:
        """Share the weights out among the ranks, where the strategy has made a mesh of them."""
        if self.device_mesh is None or self.sharded:
            return
        half = self.trainer.precision == "bf16-mixed"
        shard(self.model, self.device_mesh["data_parallel"], half=half)
        self.policy.compile = False
        log.info(
            "weights: each of %d processes holds a share; layers are gathered", self.world_size
        )

    def require_engine(self) -> None:
        """Refuse a model that would sample and be scored by other means than the engine's.

        Raises:
            ConfigError: it gathers no shares for those.
        """
        if not engine_serves(self.policy):
            raise ConfigError(
                "trainer.strategy: fsdp needs the engine, which does not serve this model "
                f"({self.policy.engine_problem}); use ddp"
            )

    def on_fit_end(self) -> None:
        """What is written behind the training is written by the first rank, of whole weights."""
        if self.sharded:
            make_whole(self.model, keep=self.trainer.is_global_zero)

    def global_sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all ranks."""
        return self.trainer.strategy.reduce(value, reduce_op="sum")

    def _most(self, count: int) -> int:
        """The largest of the ranks' numbers."""
        own = torch.tensor(count, device=self.device)
        return int(self.trainer.strategy.reduce(own, reduce_op="max"))

    def meet(self) -> None:
        """Wait for ranks that still score or sample, where that takes all of them (`Shards`)."""
        if (shards := shards_of(self.model)) is not None:
            shards.meet()

    def gather_values(self, values: list[T]) -> list[T]:
        """The plain values of all ranks, one rank after the other; every rank must call."""
        if self.world_size == 1:
            return values
        found: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(found, values)
        return [value for part in found for value in part]

    @property
    def world_size(self) -> int:
        """Processes of the run."""
        return self.trainer.world_size

    def _local_gradients(self) -> contextlib.AbstractContextManager[None]:
        block = getattr(self.trainer.strategy, "block_backward_sync", None)
        return contextlib.nullcontext() if block is None else block()

    def _share_gradients(self) -> None:
        """Make each gradient the mean of all ranks' own."""
        for parameter in self.policy.trainable_parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self.trainer.strategy.reduce(parameter.grad, reduce_op="mean")
