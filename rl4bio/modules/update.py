"""The gradient steps on a rollout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.modules.batching import cut, micro_batches, tokens_in_heap
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.phases import phase
from rl4bio.modules.reference import Reference
from rl4bio.modules.reward_validation import RewardValidation
from rl4bio.modules.step_metrics import mean_terms
from rl4bio.sections import GRPOConfig
from rl4bio.types import Experience, LossTerms, Rollout


class RolloutUpdate(RewardValidation):
    """A module that learns from rollouts: the objective on micro-batches of their rows."""

    grpo: GRPOConfig
    reference: Reference | None

    @property
    def updates_per_step(self) -> int:
        return self.grpo.updates_per_rollout

    @property
    def distribution(self) -> dict[str, Any]:
        """What completions are sampled from, and what their log-probabilities are taken of."""
        return {"temperature": self.rollout.temperature, "top_k": self.rollout.top_k}

    @phase("reference")
    def reference_logprobs(self, rollout: Rollout) -> Tensor | None:
        """Float [N, C] of the reference; None where nothing asks for it."""
        if self.reference is None:
            return None
        found = torch.zeros_like(rollout.logprobs)
        for numbers in self.micro_batches(rollout):
            rows = cut(rollout, numbers)
            found[numbers, : rows.width] = self.reference.logprobs(rows, **self.distribution)
        return found

    def micro_batches(self, rollout: Rollout, groups: list[int] | None = None) -> list[Tensor]:
        """Row numbers of the micro-batches of a rollout, or of some of its groups."""
        return micro_batches(
            rollout,
            self.grpo.tokens_per_micro_batch,
            packed=engine_serves(self.policy),
            groups=groups,
            enough=tokens_in_heap(self.policy.model),
        )

    @phase("update")
    def update(self, experience: Experience) -> LossTerms:
        """The gradient steps on one rollout: `updates_per_rollout` passes over all of it.

        The first pass is on-policy by construction: its own log-probabilities are the old ones,
        and are kept for the passes after it. Groups without an advantage are left out where there
        is no reference: their gradient is 0. What is logged is then a mean over the others.
        """
        config, rollout = self.grpo, experience.rollout
        mask = rollout.completion_mask
        if config.mask_truncated:
            mask = mask & ~rollout.truncated.unsqueeze(-1)
        batches = self.micro_batches(rollout, self.groups_to_learn_from(experience))
        counts = torch.stack([mask.sum(), mask[torch.cat(batches)].sum()]).float()
        num_tokens, num_learnt = (self.global_sum(counts) / self.world_size).tolist()
        window = Window(
            num_rows=len(mask),
            num_tokens=num_tokens,
            max_tokens=self.rollout.max_completion_tokens,
        )
        old = torch.zeros_like(rollout.logprobs)
        sums: list[LossTerms] = []

        def loss_of(numbers: Tensor) -> Tensor:
            rows = cut(rollout, numbers)
            here = (numbers, slice(rows.width))
            logprobs, entropy = row_logprobs(self.policy, rows, **self.distribution)
            if first_pass:
                old[here] = logprobs.detach()
            reference = experience.ref_logprobs
            tokens = TokenBatch(
                logprobs=logprobs,
                old_logprobs=old[here],
                advantages=experience.advantages[numbers],
                mask=mask[here],
                ref_logprobs=None if reference is None else reference[here],
                entropy=entropy,
                correction=self.correction(old[here], rollout.logprobs[here], mask[here]),
            )
            terms = grpo_loss(tokens, config, window)
            sums.append(terms)
            return terms.total

        for first_pass in [True] + [False] * (config.updates_per_rollout - 1):  # noqa: B007
            self.optimizer_step_over(batches, loss_of)
        if self.rollout.samples_apart:
            gap = (old - rollout.logprobs).abs()[batches[0]][mask[batches[0]]]
            self.log_means({"train/sampling_gap_nats": (float(gap.sum()), float(gap.numel()))})
        share = num_learnt / num_tokens if num_tokens else 1.0
        return mean_terms(sums, passes=config.updates_per_rollout, share=share)

    def correction(self, old: Tensor, sampled: Tensor, mask: Tensor) -> Tensor | None:
        """Weights [n, c] for what was sampled with other kernels or in another precision."""
        if not self.rollout.samples_apart:
            return None
        return sampling_correction(old, sampled, mask, cap=self.rollout.correction_cap)

    def groups_to_learn_from(self, experience: Experience) -> list[int] | None:
        """Groups with an advantage, at least one so that every rank has a backward; None = all."""
        if self.reference is not None:
            return None
        size = self.grpo.group_size
        telling = (experience.advantages != 0).view(-1, size).any(-1)
        return telling.nonzero().flatten().tolist() or [0]
