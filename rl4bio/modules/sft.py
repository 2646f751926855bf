"""Supervised fine-tuning on demonstrations, with the policy and data types of GRPO.

Where the engine serves the model, demonstrations run as one row of real tokens and the head sees
the tokens of the loss alone; otherwise, and while dropout is active, as padded rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rl4bio.engine.sending import send
from rl4bio.errors import DataError
from rl4bio.modules.base import PolicyModule
from rl4bio.modules.demonstrations import (
    Demonstrations,
    NothingFits,
    demonstration_logprobs,
    encode_demonstrations,
    stand_in,
)
from rl4bio.modules.dropout import dropout_is_active
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.phases import phase
from rl4bio.modules.policy import Policy, evaluating
from rl4bio.modules.rollout import sampling_seed
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.sections.training import SFTLoss
from rl4bio.types import PromptBatch

__all__ = [
    "Demonstrations",
    "SFTLightningModule",
    "demonstration_loss",
    "encode_demonstrations",
    "imitation_loss",
]

log = logging.getLogger("rl4bio")

MAX_SKIPPED = 100
"""Batches of nothing in a row, after which there is no end in sight."""


def imitation_loss(logprobs: Tensor, weights: Tensor, kind: SFTLoss = "nll") -> Tensor:
    """Weighted sum of the tokens' losses; divide by the summed weights for the mean.

    nll: -sum_t w_t log p_t. dft: -sum_t w_t sg(p_t) log p_t with the probability held fixed, whose
    gradient is that of -sum_t w_t p_t (Wu et al., 2025, arXiv:2508.05629, equation 9).

    Args:
        logprobs: float [M].
        weights: float [M].
        kind: of the loss.

    Returns:
        float [].
    """
    if kind == "dft":
        weights = weights * logprobs.detach().exp()
    return -(weights * logprobs).sum()


def demonstration_loss(
    model: nn.Module, rows: Demonstrations, *, kind: SFTLoss = "nll", **options: Any
) -> Tensor:
    """`imitation_loss` of demonstrations; options are those of `demonstration_logprobs`."""
    logprobs = demonstration_logprobs(model, rows, **options)
    weights = send(rows.weights[rows.weights > 0], logprobs.device)
    return imitation_loss(logprobs, weights, kind)


class SFTLightningModule(PolicyModule):
    """Imitates `Sample.demonstration`; the loss counts completion tokens only, unless told so.

    Args:
        policy: model and tokenizer, with or without an adapter.
        sft: loss, token limits, loss weights and noise.
        optim: learning rate, schedule and clipping.
        max_steps: planned training steps.
        seed: of the noise on the embeddings.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        sft: SFTConfig,
        optim: OptimConfig,
        max_steps: int,
        seed: int = 1,
    ) -> None:
        super().__init__(policy, optim=optim, max_steps=max_steps)
        self.sft = sft
        self.seed = seed
        self._skipped = 0

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if dropout_is_active(self.model):
            log.info("sft: dropout is active, so demonstrations run as padded rows")

    @property
    def limits(self) -> SFTConfig:
        return self.sft

    @phase("imitation")
    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """One optimiser step on the mean loss over the tokens of all ranks' batches."""
        started = time.perf_counter()
        rows = self._encode(batch)
        counted = rows.weights.sum() * rows.counts
        tokens = float(counted)
        denominator = self.global_sum(send(counted, self.device)) / self.world_size
        packed, alpha = self.packs(rows), self.sft.neftune_alpha
        losses: list[Tensor] = []

        def loss_of(piece: Demonstrations) -> Tensor:
            noise: dict[str, Any] = {}
            if alpha:
                noise["neftune_alpha"] = alpha
                noise["noise_seeds"] = [
                    sampling_seed(self.seed, batch.indices[number], 0) for number in piece.numbers
                ]
            loss = demonstration_loss(self.model, piece, kind=self.sft.loss, packed=packed, **noise)
            losses.append(loss.detach())
            return loss * rows.counts / denominator

        def one_pass() -> None:
            losses.clear()
            pieces = self.pieces(rows)
            self.optimizer_step_over(pieces, loss_of)
            del losses[len(pieces) :]

        if float(denominator) > 0:
            self._step(rows, one_pass)
            self._skipped = 0
        else:
            self._skip(len(batch.samples))
        self.iteration += 1
        self.draws += len(batch.samples) * self.world_size
        given = float(len(batch.samples))
        total = sum(torch.stack(losses).tolist()) * rows.counts if losses else 0.0
        self.log_means(
            {
                "train/loss": (total, tokens),
                "train/left_out_fraction": (given - len(rows.ids) * rows.counts, given),
            }
        )
        self.log_optimizer()
        self.log("time/update_s", time.perf_counter() - started, rank_zero_only=True)
        return {}

    def _step(self, rows: Demonstrations, one_pass: Callable[[], None]) -> None:
        """The update; the first ones, and those at the peak of the rate, are checked."""

        def count() -> int:
            return len(self.pieces(rows))

        def measure() -> tuple[Demonstrations, float]:
            first = self.pieces(rows)[0]
            return first, self._likelihood(first)

        first, before = self.while_memory_lasts(measure, count) if self.rate_is_new else (rows, 0.0)
        self.while_memory_lasts(one_pass, count)
        if self.rate_is_new:
            after = self._likelihood(first)
            self.check_survival(before, after, float(first.weights.sum()))

    @phase("imitation")
    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Mean negative log-likelihood over the validation tokens of all ranks."""
        rows = self._encode(batch)
        if not rows.counts:
            return
        packed = self.packs(rows)

        def measure() -> float:
            pieces = self.pieces(rows)
            return sum(float(demonstration_loss(self.model, p, packed=packed)) for p in pieces)

        loss = self.while_memory_lasts(measure, lambda: len(self.pieces(rows)))
        self._validation.append((loss, float(rows.weights.sum())))

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self._validation: list[tuple[float, float]] = []

    def on_validation_epoch_end(self) -> None:
        """Log the loss a token over all ranks."""
        self.meet()
        loss = sum(loss for loss, _ in self._validation)
        self.log_means({"val/loss": (loss, sum(count for _, count in self._validation))})

    def _likelihood(self, piece: Demonstrations) -> float:
        """The summed negative log-likelihood of some demonstrations, without dropout."""
        packed = self.packs(piece)
        with torch.no_grad(), evaluating(self.model):
            return float(demonstration_loss(self.model, piece, packed=packed))

    def pieces(self, rows: Demonstrations) -> list[Demonstrations]:
        """The micro-batches of some demonstrations."""
        return rows.micro_batches(self.micro_batch_tokens, packed=self.packs(rows))

    def packs(self, rows: Demonstrations) -> bool:
        """Whether these demonstrations run without padding, in the model's present mode."""
        if rows.conditions or dropout_is_active(self.model):
            return False
        return engine_serves(self.policy)

    def _skip(self, num_pairs: int) -> None:
        """Count a batch of which no rank has a pair that fits; no gradient step is made."""
        self._skipped += 1
        log.warning(
            "sft: none of %d pairs a rank fits sft.max_tokens=%d: the batch is skipped; raise it "
            "if that happens often",
            num_pairs,
            self.sft.max_tokens,
        )
        if self._skipped >= MAX_SKIPPED:
            raise DataError(
                f"{MAX_SKIPPED} batches one after the other hold no pair that fits "
                f"sft.max_tokens={self.sft.max_tokens} and the model's "
                f"{self.policy.max_positions or 'unlimited'} positions; raise sft.max_tokens"
            )

    def _encode(self, batch: PromptBatch) -> Demonstrations:
        try:
            return encode_demonstrations(self.policy, batch.samples, self.sft)
        except NothingFits:
            return stand_in(self.policy, batch.samples[0], self.sft)
