"""What GRPO and supervised fine-tuning share: the policy, and gradient steps over micro-batches."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import lightning as L
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from rl4bio.engine.sharding import gathered
from rl4bio.errors import ConfigError, NonFiniteError
from rl4bio.modules.across_ranks import AcrossRanks
from rl4bio.modules.bad_numbers import (
    FIRST_STEPS,
    Doubts,
    bad_gradient,
    bad_weight,
    require_survival,
    weight_named,
)
from rl4bio.modules.halving import Halving
from rl4bio.modules.optim import build_optimizer, learning_rate_share
from rl4bio.modules.policy import Policy
from rl4bio.modules.quantized import require_trainable
from rl4bio.process.memory import Level
from rl4bio.sections import OptimConfig
from rl4bio.types import Scorer

T = TypeVar("T")


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed Python's, numpy's and torch's generators for one step of one rank."""
    digest = hashlib.blake2b(f"step/{seed}/{step}/{rank}".encode(), digest_size=4).digest()
    L.seed_everything(int.from_bytes(digest, "big"), verbose=False)


class PolicyModule(AcrossRanks, Halving):
    """A policy under manual optimisation.

    Args:
        policy: model and tokenizer; its trainable parameters are what the optimiser gets.
        optim: learning rate, schedule and clipping.
        max_steps: planned training steps, where the schedule ends.
    """

    def __init__(self, policy: Policy, *, optim: OptimConfig, max_steps: int) -> None:
        super().__init__()
        require_trainable(policy)
        self.automatic_optimization = False
        self.policy = policy
        self.model: nn.Module = policy.model
        self.optim = optim
        self.max_steps = max_steps
        self.iteration = 0
        """Finished training steps; an optimiser may have stepped several times in each."""
        self.draws = 0
        """Training prompts that all ranks have used up; where a resumed run goes on."""
        self.seed = 1
        """Of whatever a step draws."""
        self.updating = False
        self.grad_norm = 0.0
        self.doubts = Doubts()
        """Of the update under way."""
        self._held = Level()
        self.warnings: list[dict[str, Any]] = []
        """What callbacks have to say about the run's learning; for its summary and report."""

    scorer: Scorer | None = None
    """The rewards; None for a module that has none."""

    @property
    def memories(self) -> dict[str, Any]:
        """What checkpoints hold beside weights, optimiser and counters, by name; of all ranks."""
        return {}

    @property
    def updates_per_step(self) -> int:
        """Optimiser steps in each training step, as Lightning's `global_step` counts them."""
        return 1

    @property
    def place(self) -> str:
        """The step under way, from 1, for messages; with its update where a step has several."""
        shown = f"step {self.iteration + 1}"
        number = self.global_step - self.iteration * self.updates_per_step
        return f"update {number + 1} of {shown}" if number else shown

    @property  # type: ignore[misc]
    def strict_loading(self) -> bool:
        """False: a checkpoint holds the trained weights alone."""
        return False

    def on_fit_start(self) -> None:
        """Train mode; rollouts and scoring switch to eval mode for themselves.

        Raises:
            ConfigError: what is trained is in half precision, as the Trainer's bf16-true makes it;
                or the weights are sharded, of a model that the engine does not serve.
        """
        half = (torch.bfloat16, torch.float16)
        if any(p.dtype in half for p in self.policy.trainable_parameters()):
            raise ConfigError(
                f"trainer.precision: with {self.trainer.precision} the trained weights are in half "
                "precision, where small updates are rounded away; use bf16-mixed"
            )
        if self.sharded:
            with self.trainer.precision_plugin.forward_context():
                self.require_engine()
        self.model.train()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """What a step draws (dropout) depends on seed, step and rank, not on what ran before it."""
        seed_step(self.seed, self.iteration, self.trainer.global_rank)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser of what is trained."""
        named = self.policy.model.named_parameters()
        return build_optimizer(((n, p) for n, p in named if p.requires_grad), self.optim)

    def learning_rate_share(self) -> float:
        """The share of its peak learning rate that every parameter group takes at this step."""
        return learning_rate_share(
            self.optim, self.global_step, self.max_steps, updates=self.updates_per_step
        )

    def trainable_state(self) -> dict[str, Tensor]:
        """The trained weights alone, by their name in the model; sharded ones as shares."""
        return {
            name: parameter.detach()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's own checkpoints hold the trained weights alone."""
        weights = gathered(self.trainable_state())
        checkpoint["state_dict"] = {f"model.{k}": v for k, v in weights.items()}

    def optimizer_step_over(
        self, micro_batches: Sequence[T], loss_of: Callable[[T], Tensor]
    ) -> None:
        """One optimiser step on the summed losses of the micro-batches.

        Gradients are shared between ranks once, at the last micro-batch, so ranks may have
        different numbers of them; behind it where a rank may have to begin again. Sharded ranks
        gather layers in each, so one with fewer runs its last again, for nothing. The step is
        refused before it can spoil the weights, or the other ranks' gradients; what it is refused
        for is looked at once, at the last micro-batch, and not in each: the host would wait there.

        Raises:
            NonFiniteError: a loss or the gradient norm is NaN or infinite.
        """
        optimizer: Any = self.optimizers()
        share = self.learning_rate_share()
        for group in optimizer.param_groups:
            group["lr"] = share * group["peak_lr"]
        optimizer.zero_grad()
        self.doubts = Doubts()
        count = self._most(len(micro_batches)) if self.sharded else len(micro_batches)
        for number in range(count):
            last = number == count - 1
            shared = last and not self.halves
            with contextlib.nullcontext() if shared else self._local_gradients():
                loss = loss_of(micro_batches[min(number, len(micro_batches) - 1)])
                if number >= len(micro_batches):
                    loss = 0.0 * loss
                self.doubts.add(*self._is_no_number(loss.detach()))
                if last:
                    with weight_named(self.model):
                        self.doubts.settle()
                self.manual_backward(loss)
        if self.halves and self.world_size > 1:
            self._share_gradients()
        optimizer.step()
        self.updating = False
        self._held.hold()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip and record the gradient norm; with 16-mixed the gradients are unscaled here."""
        limit = self.optim.max_grad_norm
        trained = self.policy.trainable_parameters()
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        self.grad_norm = float(norm)
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if not scaled and not math.isfinite(self.grad_norm):
            raise self._not_finite("gradient norm", norm, bad_gradient(self.model))
        if limit is not None:
            nn.utils.clip_grads_with_norm_(trained, limit, norm)
        self.updating = True

    def _is_no_number(self, loss: Tensor) -> tuple[Tensor, Callable[[], NonFiniteError]]:
        """Whether a loss is NaN or infinite, and the error that says so."""
        return ~torch.isfinite(loss), lambda: self._not_finite("loss", loss, bad_weight(self.model))

    def _not_finite(self, name: str, value: Tensor, culprit: str) -> NonFiniteError:
        found = f" ({culprit})" if culprit else ""
        return NonFiniteError(
            f"the {name} is {float(value.detach())} in {self.place}{found}; "
            "nothing was updated; lower optim.lr or use trainer.precision=32-true"
        )

    @property
    def rate_is_new(self) -> bool:
        """Whether these are the first steps of all, or at the peak of the learning rate."""
        at_peak = self.iteration - self.optim.warmup_steps
        return self.iteration < FIRST_STEPS or 0 <= at_peak < FIRST_STEPS

    def check_survival(self, before: float, after: float, num_tokens: float) -> None:
        """Refuse, on all ranks together, an update that has destroyed the policy.

        Args:
            before: sum of the negative log-likelihoods of some of this rank's tokens, before it.
            after: of the same tokens, behind it.
            num_tokens: how many they are.

        Raises:
            NonFiniteError: see `require_survival`.
        """
        sums = torch.tensor([before, after, num_tokens], device=self.device)
        was, now, count = self.global_sum(sums).tolist()
        if count:
            require_survival(was / count, now / count, place=f"step {self.iteration + 1}")

    def log_means(self, sums: dict[str, tuple[float, float]], **options: Any) -> None:
        """Log sum/count pairs as means over all ranks (a mean of means would weigh ranks wrongly).

        Loggers get the number of the training step as their step, in validation too.

        Args:
            sums: metric name -> (sum, count) on this rank.
            options: for `self.log`.
        """
        pairs = torch.tensor(list(sums.values()), device=self.device, dtype=torch.float32)
        total = self.global_sum(pairs)
        for (name, _), (value, count) in zip(sums.items(), total.tolist(), strict=True):
            mean = value / count if count else float("nan")
            self.log(name, mean, rank_zero_only=True, **options)
        self.log("step", float(self.iteration), rank_zero_only=True)

    def log_optimizer(self) -> None:
        """Log the gradient norm and the learning rate of the last optimiser step."""
        self.log("train/grad_norm", self.grad_norm, rank_zero_only=True)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/lr", rate, rank_zero_only=True)
