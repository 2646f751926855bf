"""The gradient steps on a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.functional.replay import replay_weights
from rl4bio.modules.bad_numbers import require_finite, weight_named
from rl4bio.modules.batching import Rows, cut, micro_batches, tokens_in_heap
from rl4bio.modules.completing import Sampling
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.phases import phase
from rl4bio.modules.reference import Reference
from rl4bio.modules.reward_validation import RewardValidation
from rl4bio.modules.step_metrics import mean_terms
from rl4bio.sections import GRPOConfig
from rl4bio.types import Experience, LossTerms, Rollout


@dataclass(slots=True, kw_only=True)
class Part:
    """Rows of one rollout in an update."""

    experience: Experience
    mask: Tensor  # bool [N, C]; True = counts in the loss
    old: Tensor  # float [N, C]; log-probabilities at the start of the step, once they are known


class RolloutUpdate(RewardValidation):
    """A module that learns from rollouts: the objective on micro-batches of their rows."""

    grpo: GRPOConfig
    reference: Reference | None

    @property
    def updates_per_step(self) -> int:
        """Optimiser steps of a training step."""
        return self.grpo.updates_per_rollout

    @property
    def distribution(self) -> dict[str, Any]:
        """What completions are sampled from, and what their log-probabilities are taken of."""
        return Sampling.at(self.rollout).distribution

    @phase("reference")
    def reference_logprobs(self, rollout: Rollout) -> Tensor | None:
        """Float [N, C] of the reference; None where nothing asks for it.

        Raises:
            NonFiniteError: it is not finite; names the prompt.
        """
        if self.reference is None:
            return None
        reference, found = self.reference, torch.zeros_like(rollout.logprobs)

        def run() -> None:
            for numbers in self.micro_batches(rollout):
                rows = cut(rollout, numbers)
                found[numbers, : rows.width] = reference.logprobs(rows, **self.distribution)

        self.while_memory_lasts(run, lambda: len(self.micro_batches(rollout)))
        with weight_named(self.model):
            where = f"the reference in {self.place}"
            require_finite(found, rollout.completion_mask, rollout, where=where)
        return found

    @property
    def limits(self) -> GRPOConfig:
        return self.grpo

    def micro_batches(self, rollout: Rollout, groups: list[int] | None = None) -> list[Tensor]:
        """Row numbers of the micro-batches of a rollout, or of some of its groups."""
        return micro_batches(
            rollout,
            self.micro_batch_tokens,
            packed=engine_serves(self.policy),
            groups=groups,
            enough=tokens_in_heap(self.policy.model),
        )

    @phase("update")
    def update(self, experience: Experience) -> LossTerms:
        """The gradient steps on one rollout: `updates_per_rollout` passes over all of it.

        The first pass is on-policy by construction: its own log-probabilities are the old ones,
        and are kept for the passes after it. Groups without an advantage are left out where there
        is no reference and no entropy term: their gradient is 0. What is logged is then a mean over
        the others. Rows from memory (`rl4bio.functional.replay`) join them under the same
        denominators.
        """
        config = self.grpo
        sampled = self._part(experience)
        groups = self.groups_to_learn_from(experience)
        parts, work = [sampled], [(experience.rollout, groups)]
        learnt = torch.cat(self.micro_batches(experience.rollout, groups))
        mask = sampled.mask
        counts = torch.stack([mask.sum(), mask[learnt].sum(), torch.zeros_like(mask.sum())]).float()
        if (replayed := experience.replayed) is not None:
            more = self._part(replayed)
            parts.append(more)
            work.append((replayed.rollout, None))
            tokens = more.mask.sum()
            counts += torch.stack([tokens, tokens, torch.full_like(tokens, len(more.mask))])
        num_tokens, num_learnt, more_rows = (self.global_sum(counts) / self.world_size).tolist()
        window = Window(
            num_rows=len(mask) + more_rows,
            num_tokens=num_tokens,
            max_tokens=self.rollout.max_completion_tokens,
        )
        sums: list[LossTerms] = []

        def loss_of(batch: tuple[Part, Tensor]) -> Tensor:
            part, numbers = batch
            rows = cut(part.experience.rollout, numbers)
            here = (numbers, slice(rows.width))
            logprobs, entropy = row_logprobs(
                self.policy,
                rows,
                **self.distribution,
                entropy_gradient=config.entropy_coef > 0,
            )
            with weight_named(self.model):
                where = f"the policy in {self.place}"
                rollout = part.experience.rollout
                require_finite(logprobs.detach(), part.mask[here], rollout, numbers, where=where)
            if first_pass:
                part.old[here] = logprobs.detach()
            reference = part.experience.ref_logprobs
            tokens = TokenBatch(
                logprobs=logprobs,
                old_logprobs=part.old[here],
                advantages=part.experience.advantages[numbers],
                mask=part.mask[here],
                ref_logprobs=None if reference is None else reference[here],
                entropy=entropy,
                correction=self._weights(part, here),
            )
            terms = grpo_loss(tokens, config, window)
            sums.append(terms)
            return terms.total

        def one_pass() -> None:
            del sums[done:]
            cuts = zip(parts, work, strict=True)
            batches = [(part, n) for part, rows in cuts for n in self.micro_batches(*rows)]
            self.optimizer_step_over(batches, loss_of)

        for first_pass in [True] + [False] * (config.updates_per_rollout - 1):  # noqa: B007
            done = len(sums)
            self.while_memory_lasts(
                one_pass, lambda: sum(len(self.micro_batches(*rows)) for rows in work)
            )
        first = self.micro_batches(experience.rollout, groups)[0]
        if self.rate_is_new:
            self.check_update(cut(experience.rollout, first), sampled.old[first])
        if self.rollout.samples_apart:
            gap = (sampled.old - experience.rollout.logprobs).abs()[first][mask[first]]
            self.log_means({"train/sampling_gap_nats": (float(gap.sum()), float(gap.numel()))})
        share = num_learnt / num_tokens if num_tokens else 1.0
        return mean_terms(sums, passes=config.updates_per_rollout, share=share)

    def check_update(self, rows: Rows, old: Tensor) -> None:
        """Refuse an update that makes what was just sampled unlikely; by a forward of some rows."""
        with torch.no_grad():
            logprobs, _ = row_logprobs(self.policy, rows, **self.distribution)
        mask = rows.completion_mask
        before, after = -old[:, : rows.width][mask].sum(), -logprobs[mask].sum()
        self.check_survival(float(before), float(after), float(mask.sum()))

    def _part(self, experience: Experience) -> Part:
        rollout = experience.rollout
        mask = rollout.completion_mask
        if self.grpo.mask_truncated:
            mask = mask & ~rollout.truncated.unsqueeze(-1)
        return Part(experience=experience, mask=mask, old=torch.zeros_like(rollout.logprobs))

    def _weights(self, part: Part, here: tuple[Tensor, slice]) -> Tensor | None:
        """What the policy terms of some rows are multiplied by, float [n, c]; None = 1."""
        old, mask = part.old[here], part.mask[here]
        then, replay = part.experience.rollout.logprobs[here], self.grpo.replay
        if replay is None or not part.experience.from_memory:
            return self.correction(old, then, mask)
        return replay_weights(
            old, then, mask, importance=replay.importance, cap=replay.importance_cap
        )

    def correction(self, old: Tensor, sampled: Tensor, mask: Tensor) -> Tensor | None:
        """Weights [n, c] for what was sampled with other kernels or in another precision."""
        if not self.rollout.samples_apart:
            return None
        return sampling_correction(old, sampled, mask, cap=self.rollout.correction_cap)

    def groups_to_learn_from(self, experience: Experience) -> list[int] | None:
        """Groups with an advantage, at least one so that every rank has a backward; None = all."""
        if self.reference is not None or self.grpo.entropy_coef > 0:
            return None
        size = self.grpo.group_size
        telling = (experience.advantages != 0).view(-1, size).any(-1)
        return telling.nonzero().flatten().tolist() or [0]
