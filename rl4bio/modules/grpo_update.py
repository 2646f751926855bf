"""The gradient steps of GRPO on one rollout, in micro-batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.modules.bad_numbers import require_finite, weight_named
from rl4bio.modules.batching import Rows, cut, micro_batches, tokens_in_heap
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.phases import phase, ran_out
from rl4bio.modules.reference import Reference
from rl4bio.modules.reward_validation import RewardValidation
from rl4bio.modules.step_metrics import mean_terms
from rl4bio.sections import GRPOConfig
from rl4bio.types import Experience, LossTerms, Rollout

log = logging.getLogger("rl4bio")


class PolicyUpdate(RewardValidation):
    """What a module does with an experience."""

    grpo: GRPOConfig
    reference: Reference | None
    halvings = 0
    """How often the memory ran out in a micro-batch, and `auto` halved it."""

    @property
    def distribution(self) -> dict[str, Any]:
        """What completions are sampled from, and what their log-probabilities are taken of."""
        return {"temperature": self.rollout.temperature, "top_k": self.rollout.top_k}

    @property
    def updates_per_step(self) -> int:
        return self.grpo.updates_per_rollout

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of a micro-batch, after what `auto` has learnt of the memory."""
        return max(1, self.grpo.micro_batch_tokens >> self.halvings)

    def in_micro_batches(
        self,
        run: Callable[[list[Tensor]], None],
        rollout: Rollout,
        groups: list[int] | None = None,
    ) -> None:
        """Do something with the micro-batches; with `auto` anew with smaller ones where the memory
        runs out. Several processes would lose their common count, so there it is an error.

        Args:
            run: may be begun several times; what it has done of a try counts for nothing.
            rollout: whose rows they are.
            groups: of the rollout; None is all.
        """
        while True:
            batches = self.micro_batches(rollout, groups)
            try:
                return run(batches)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                smallest = all(len(numbers) == 1 for numbers in batches)
                auto = self.grpo.tokens_per_micro_batch == "auto" and self.world_size == 1
                if not ran_out(error) or not auto or smallest:
                    raise
            while len(self.micro_batches(rollout, groups)) == len(batches):
                self.halvings += 1
            log.warning(
                "the memory ran out in %s: micro-batches have %d tokens from here on, with the "
                "same result; grpo.tokens_per_micro_batch=%d begins so",
                self.place,
                self.micro_batch_tokens,
                self.micro_batch_tokens,
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

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
        is no reference: their gradient is 0. What is logged is then a mean over the others.
        """
        config, rollout = self.grpo, experience.rollout
        mask = rollout.completion_mask
        if config.mask_truncated:
            mask = mask & ~rollout.truncated.unsqueeze(-1)
        groups = self.groups_to_learn_from(experience)
        learnt = torch.cat(self.micro_batches(rollout, groups))
        counts = torch.stack([mask.sum(), mask[learnt].sum()]).float()
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
            with weight_named(self.model):
                where = f"the policy in {self.place}"
                require_finite(logprobs.detach(), mask[here], rollout, numbers, where=where)
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

        def one_pass(batches: list[Tensor]) -> None:
            del sums[done:]
            self.optimizer_step_over(batches, loss_of)

        for first_pass in [True] + [False] * (config.updates_per_rollout - 1):  # noqa: B007
            done = len(sums)
            self.in_micro_batches(one_pass, rollout, groups)
        some = self.micro_batches(rollout, groups)[0]
        if self.rate_is_new:
            self.check_update(cut(rollout, some), old[some])
        if self.rollout.samples_apart:
            gap = (old - rollout.logprobs).abs()[some][mask[some]]
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
