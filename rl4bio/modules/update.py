"""The gradient steps on a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.sending import send
from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.functional.replay import replay_weights
from rl4bio.modules.bad_numbers import require_finite, weight_named
from rl4bio.modules.batching import Rows, cut, micro_batches, on_host, tokens_in_heap
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
    host: Rollout
    """Its rollout with tokens and masks on the CPU: what is laid out there waits for no device."""
    mask: Tensor  # bool [N, C]; True = counts in the loss
    old: Tensor  # float [N, C]; log-probabilities at the start of the step, once they are known
    groups: list[int] | None  # that are learnt from; None = all


class RolloutUpdate(RewardValidation):
    """A module that learns from rollouts: the objective on micro-batches of their rows."""

    grpo: GRPOConfig
    reference: Reference | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._hosts: list[tuple[Rollout, Rollout]] = []

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
        host = self._on_host(rollout)

        def run() -> None:
            for numbers in self.micro_batches(host):
                rows = cut(host, numbers)
                here = (send(numbers, found.device), slice(rows.width))
                found[here] = reference.logprobs(rows, **self.distribution)

        with reference.in_force():
            self.while_memory_lasts(run, lambda: len(self.micro_batches(host)))
            self.meet()
        with weight_named(self.model):
            where = f"the reference in {self.place}"
            require_finite(found, rollout.completion_mask, rollout, where=where)
        return found

    def attend_reference(self) -> None:
        """Wait for ranks that score by the reference what this one has nothing of."""
        if self.reference is not None:
            with self.reference.in_force():
                self.meet()

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
        sampled = self._part(experience, self.groups_to_learn_from(experience))
        parts = [sampled]
        if experience.replayed is not None:
            parts.append(self._part(experience.replayed, None))
        window, share = self._window(parts)
        sums: list[LossTerms] = []

        def batches() -> list[tuple[Part, Tensor]]:
            return [(part, numbers) for part in parts for numbers in self._numbers(part)]

        def loss_of(batch: tuple[Part, Tensor]) -> Tensor:
            terms = self._terms(*batch, window, is_first=first_pass)
            sums.append(terms)
            return terms.total

        def one_pass() -> None:
            del sums[done:]
            micro_batches = batches()
            self.optimizer_step_over(micro_batches, loss_of)
            del sums[done + len(micro_batches) :]

        passes = self.grpo.updates_per_rollout
        for first_pass in [True] + [False] * (passes - 1):  # noqa: B007
            done = len(sums)
            self.while_memory_lasts(one_pass, lambda: len(batches()))
        self._look_back(sampled)
        self._hosts.clear()
        return mean_terms(sums, passes=passes, share=share)

    def _numbers(self, part: Part) -> list[Tensor]:
        """Row numbers of the micro-batches of a part."""
        return self.micro_batches(part.host, part.groups)

    def _window(self, parts: list[Part]) -> tuple[Window, float]:
        """The denominators of an update over all ranks, and the share of sampled tokens in it.

        Args:
            parts: the sampled rows, and those from memory where there are some.
        """
        sampled, *remembered = parts
        mask = sampled.mask
        learnt = torch.cat(self._numbers(sampled))
        counts = torch.stack([mask.sum(), mask[learnt].sum(), torch.zeros_like(mask.sum())]).float()
        for part in remembered:
            tokens = part.mask.sum()
            counts += torch.stack([tokens, tokens, torch.full_like(tokens, len(part.mask))])
        num_tokens, num_learnt, more_rows = (self.global_sum(counts) / self.world_size).tolist()
        window = Window(
            num_rows=len(mask) + more_rows,
            num_tokens=num_tokens,
            max_tokens=self.rollout.max_completion_tokens,
        )
        return window, num_learnt / num_tokens if num_tokens else 1.0

    def _terms(self, part: Part, numbers: Tensor, window: Window, *, is_first: bool) -> LossTerms:
        """The objective on a micro-batch; the first pass keeps its log-probabilities as the old.

        Log-probabilities that are not finite are noted in `doubts`, with their prompt.
        """
        rollout = part.experience.rollout
        rows = cut(part.host, numbers)
        numbers = send(numbers, part.mask.device)
        here = (numbers, slice(rows.width))
        logprobs, entropy = row_logprobs(
            self.policy,
            rows,
            **self.distribution,
            entropy_gradient=self.grpo.entropy_coef > 0,
        )
        where = f"the policy in {self.place}"
        known = logprobs.detach()
        require_finite(known, part.mask[here], rollout, numbers, where=where, doubts=self.doubts)
        if is_first:
            part.old[here] = known
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
        return grpo_loss(tokens, self.grpo, window)

    def _look_back(self, sampled: Part) -> None:
        """Refuse an update that has destroyed the policy; log how far apart two kernels are."""
        first, rollout = self._numbers(sampled)[0], sampled.experience.rollout
        if self.rate_is_new:
            self.check_update(cut(sampled.host, first), sampled.old[first])
        if self.rollout.samples_apart:
            gap = (sampled.old - rollout.logprobs).abs()[first][sampled.mask[first]]
            self.log_means({"train/sampling_gap_nats": (float(gap.sum()), float(gap.numel()))})

    def check_update(self, rows: Rows, old: Tensor) -> None:
        """Refuse an update that makes what was just sampled unlikely; by a forward of some rows."""
        with torch.no_grad():
            logprobs, _ = row_logprobs(self.policy, rows, **self.distribution)
        mask = rows.completion_mask
        before, after = -old[:, : rows.width][mask].sum(), -logprobs[mask].sum()
        self.check_survival(float(before), float(after), float(mask.sum()))

    def _part(self, experience: Experience, groups: list[int] | None) -> Part:
        rollout = experience.rollout
        mask = rollout.completion_mask
        if self.grpo.mask_truncated:
            mask = mask & ~rollout.truncated.unsqueeze(-1)
        old, host = torch.zeros_like(rollout.logprobs), self._on_host(rollout)
        return Part(experience=experience, host=host, mask=mask, old=old, groups=groups)

    def _on_host(self, rollout: Rollout) -> Rollout:
        """`on_host`, made once for the reference and the update of a step."""
        for known, host in self._hosts:
            if known is rollout:
                return host
        self._hosts.append((rollout, on_host(rollout)))
        return self._hosts[-1][1]

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
