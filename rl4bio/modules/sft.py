"""Supervised fine-tuning on demonstrations, with the policy and data types of GRPO."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rl4bio.errors import DataError
from rl4bio.functional.masking import pad_right, position_ids
from rl4bio.modules.base import PolicyModule
from rl4bio.modules.conditions import pick_conditions
from rl4bio.modules.policy import Policy
from rl4bio.sections import OptimConfig, SFTConfig
from rl4bio.types import PromptBatch, Sample


@dataclass(slots=True, kw_only=True)
class Demonstrations:
    """Encoded prompt + demonstration rows, right-padded."""

    ids: Tensor  # int [N, T]
    mask: Tensor  # bool [N, T]; True = real token
    weights: Tensor  # float [N, T]; loss weight of predicting this token, 0 for the first
    conditions: dict[str, Tensor] = field(default_factory=dict)  # each [N, ...]

    def rows(self, start: int, stop: int) -> Demonstrations:
        """A micro-batch, cut to its own longest row."""
        width = int(self.mask[start:stop].sum(-1).max())
        return Demonstrations(
            ids=self.ids[start:stop, :width],
            mask=self.mask[start:stop, :width],
            weights=self.weights[start:stop, :width],
            conditions=pick_conditions(self.conditions, slice(start, stop)),
        )


def encode_demonstrations(
    policy: Policy, samples: Sequence[Sample], config: SFTConfig
) -> Demonstrations:
    """Prompt + demonstration + end-of-turn token as rows; the loss is on the completion.

    Raises:
        DataError: a sample has no demonstration or lacks a condition of the model, or none fits
            `sft.max_tokens` and the model's positions.
    """
    room = policy.completion_room(0)
    limit = config.max_tokens if room is None else min(config.max_tokens, room)
    kept: list[Sample] = []
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for sample in samples:
        if not sample.demonstration:
            raise DataError(f"sample {sample.uid}: no demonstration to imitate; task sft needs one")
        prompt = policy.encode_prompt(sample.prompt)
        completion = policy.encode_completion(sample.demonstration)
        if len(prompt) + len(completion) > limit:
            continue
        kept.append(sample)
        rows.append([*prompt, *completion])
        weights.append([config.prompt_loss_weight] * len(prompt) + [1.0] * len(completion))
    if not rows:
        raise DataError(
            f"none of {len(samples)} samples of a batch fits sft.max_tokens={config.max_tokens} "
            f"and the model's {policy.max_positions or 'unlimited'} positions; raise "
            "sft.max_tokens, or shorten the prompts (rollout.overlong_prompts=shorten)"
        )
    ids, mask = pad_right(rows, policy.pad_id)
    table = torch.zeros(ids.shape)
    for n, row in enumerate(weights):
        table[n, 1 : len(row)] = torch.tensor(row[1:])
    conditions = policy.conditions(kept)
    return Demonstrations(ids=ids, mask=mask, weights=table, conditions=conditions)


def demonstration_loss(model: Any, rows: Demonstrations) -> Tensor:
    """Weighted negative log-likelihood of the rows' tokens, summed: a scalar.

    -sum_t w_t log p(x_t | x_<t); divide by the summed weights of the whole batch for the mean.
    """
    mask = rows.mask[:, :-1]
    out = model(
        input_ids=rows.ids[:, :-1],
        attention_mask=mask.long(),
        position_ids=position_ids(mask),
        use_cache=False,
        **rows.conditions,
    )
    logits = out.logits.float()
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), rows.ids[:, 1:].flatten(), reduction="none"
    )
    return (losses * rows.weights[:, 1:].flatten()).sum()


class SFTLightningModule(PolicyModule):
    """Imitates `Sample.demonstration`; the loss counts completion tokens only, unless told so.

    Args:
        policy: model and tokenizer, with or without an adapter.
        sft: token limits and loss weights.
        optim: learning rate, schedule and clipping.
        max_steps: planned optimiser steps.
    """

    def __init__(
        self, policy: Policy, *, sft: SFTConfig, optim: OptimConfig, max_steps: int
    ) -> None:
        super().__init__(policy, optim=optim, max_steps=max_steps)
        self.sft = sft

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """One optimiser step on the mean loss over the tokens of all ranks' batches."""
        started = time.perf_counter()
        rows = self._encode(batch)
        tokens = float(rows.weights.sum())
        denominator = self.global_sum(rows.weights.sum()) / self.world_size
        total = 0.0

        def loss_of(piece: Demonstrations) -> Tensor:
            nonlocal total
            loss = demonstration_loss(self.model, piece)
            total += float(loss.detach())
            return loss / denominator

        self.optimizer_step_over(self._split(rows), loss_of)
        self.iteration += 1
        self.draws += len(batch.samples) * self.world_size
        given = float(len(batch.samples))
        self.log_means(
            {
                "train/loss": (total, tokens),
                "train/left_out_fraction": (given - len(rows.ids), given),
            }
        )
        self.log_optimizer()
        self.log("time/update_s", time.perf_counter() - started, rank_zero_only=True)
        return {}

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Mean loss over the validation tokens of all ranks."""
        rows = self._encode(batch)
        loss = sum(float(demonstration_loss(self.model, piece)) for piece in self._split(rows))
        self._validation.append((loss, float(rows.weights.sum())))

    def on_validation_epoch_start(self) -> None:
        self._validation: list[tuple[float, float]] = []

    def on_validation_epoch_end(self) -> None:
        loss = sum(loss for loss, _ in self._validation)
        self.log_means({"val/loss": (loss, sum(count for _, count in self._validation))})

    def _encode(self, batch: PromptBatch) -> Demonstrations:
        rows = encode_demonstrations(self.policy, batch.samples, self.sft)
        return Demonstrations(
            ids=rows.ids.to(self.device),
            mask=rows.mask.to(self.device),
            weights=rows.weights.to(self.device),
            conditions=rows.conditions,
        )

    def _split(self, rows: Demonstrations) -> list[Demonstrations]:
        count, width = rows.ids.shape
        size = max(1, self.sft.tokens_per_micro_batch // width)
        return [rows.rows(start, min(count, start + size)) for start in range(0, count, size)]
