"""Micro-batches that become smaller where the memory runs out, with the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from rl4bio.modules.phases import ran_out
from rl4bio.sections import GRPOConfig, SFTConfig

log = logging.getLogger("rl4bio")

T = TypeVar("T")


class Halving:
    """The limit of a module's micro-batches, and what `auto` learns of it on this rank.

    Ranks may halve each for itself: what they tell each other comes after their micro-batches.
    """

    halvings = 0
    """How often the memory ran out in a micro-batch, and `auto` halved it."""
    updating: bool
    """Whether the optimiser is at work on the weights."""

    @property
    def sharded(self) -> bool:
        """Whether each process holds its share of the weights alone."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """The step under way."""
        raise NotImplementedError

    @property
    def limits(self) -> GRPOConfig | SFTConfig:
        """The section with `tokens_per_micro_batch`."""
        raise NotImplementedError

    @property
    def halves(self) -> bool:
        """Whether `tokens_per_micro_batch` is auto, and a process may begin again by itself."""
        return self.limits.tokens_per_micro_batch == "auto" and not self.sharded

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of a micro-batch, after what `auto` has learnt of the memory."""
        tokens: int = self.limits.micro_batch_tokens
        return max(1, tokens >> self.halvings)

    def while_memory_lasts(self, run: Callable[[], T], count: Callable[[], int]) -> T:
        """Do something in micro-batches; with `auto` again in smaller ones if the memory runs out.

        Args:
            run: may be begun several times; what it has done of a try counts for nothing.
            count: how many micro-batches it makes at the present limit.

        Returns:
            What `run` gives in the end.
        """
        while True:
            try:
                return run()
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                again = self.halves and not self.updating and ran_out(error)
                if not again or not self._halve(count):
                    raise
            log.warning(
                "the memory ran out in %s: micro-batches have %d tokens from here on, with the "
                "same result; tokens_per_micro_batch=%d begins so",
                self.place,
                self.micro_batch_tokens,
                self.micro_batch_tokens,
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _halve(self, count: Callable[[], int]) -> bool:
        """Lower the limit until there are more micro-batches; False where each is one row."""
        before = count()
        while self.micro_batch_tokens > 1:
            self.halvings += 1
            if count() != before:
                return True
        return False
