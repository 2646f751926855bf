"""GRPO as a LightningModule: rollout, rewards, advantages and updates in one training step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rl4bio.functional.correction import sampling_correction
from rl4bio.functional.losses import grpo_loss
from rl4bio.functional.objective import TokenBatch, Window
from rl4bio.modules.backends import build_sampler
from rl4bio.modules.batching import cut, micro_batches, tokens_in_heap
from rl4bio.modules.completing import Sampling, complete
from rl4bio.modules.dropout import switch_off_dropout
from rl4bio.modules.engine_check import engine_serves
from rl4bio.modules.logprobs import row_logprobs
from rl4bio.modules.phases import phase
from rl4bio.modules.policy import Policy
from rl4bio.modules.reference import Reference
from rl4bio.modules.refill import refill, spare_prompts
from rl4bio.modules.reward_validation import RewardValidation
from rl4bio.modules.self_check import check_start
from rl4bio.modules.step_advantages import advantages_over_ranks
from rl4bio.modules.step_metrics import Stopwatch, mean_terms, step_sums
from rl4bio.sections import GRPOConfig, OptimConfig, RolloutConfig
from rl4bio.types import Experience, LossTerms, PromptBatch, Rollout, Scorer, Scores


class GRPOLightningModule(RewardValidation):
    """Group-relative policy optimisation (Shao et al., 2024, arXiv:2402.03300) and its variants.

    Args:
        policy: model and tokenizer; an adapter is trained where there is one, else every weight.
        scorer: the rewards.
        rollout: lengths and temperature of the completions.
        grpo: objective, advantages and micro-batches.
        optim: learning rate, schedule and clipping.
        max_steps: planned training steps (rollouts), where the schedule ends.
        seed: of the sampling noise.
    """

    def __init__(
        self,
        policy: Policy,
        scorer: Scorer,
        *,
        rollout: RolloutConfig,
        grpo: GRPOConfig,
        optim: OptimConfig,
        max_steps: int,
        seed: int = 1,
    ) -> None:
        super().__init__(policy, optim=optim, max_steps=max_steps)
        self.scorer = scorer
        self.rollout = rollout
        self.grpo = grpo
        self.seed = seed
        policy.compile = rollout.compile
        self.sampler = build_sampler(policy, rollout)
        self.reference = Reference(policy) if grpo.kl_coef or grpo.monitor_kl else None
        switch_off_dropout(self.model)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Any]:
        """Rollout, rewards, experience, gradient steps; what callbacks read is returned."""
        clock = Stopwatch()
        rollout = self.generate(batch)
        clock.lap("time/generate_s")
        scores, ref_logprobs = self.score_beside_reference(rollout)
        clock.lap("time/score_s")
        if self.grpo.refill_rounds:
            rollout, scores = refill(
                batch,
                rollout,
                scores,
                rounds=self.grpo.refill_rounds,
                spare=partial(spare_prompts(self.trainer), self.iteration),
                draw=self.draw_again,
            )
            clock.lap("time/refill_s")
        self.check_scored(rollout, scores)
        if self.world_size > 1 and (share := getattr(self.scorer, "share", None)):
            share(self.gather_values)
        experience = self.make_experience(rollout, scores, ref_logprobs)
        clock.lap("time/reference_s")
        loss_terms = self.update(experience)
        clock.lap("time/update_s")
        self.iteration += 1
        self.draws += len(batch.samples) * self.world_size
        self._log_step(rollout, scores, loss_terms, clock)
        return {
            "rollout": rollout,
            "scores": scores,
            "experience": experience,
            "loss_terms": loss_terms,
        }

    @phase("rollout")
    def generate(self, batch: PromptBatch, *, round_number: int = 0) -> Rollout:
        """G sampled completions of each prompt; the noise depends on seed, draw and round alone."""
        size = self.grpo.group_size
        sampling = Sampling(
            max_new_tokens=self.rollout.max_completion_tokens,
            **self.distribution,
            group_size=size,
            seed=self.seed,
            round_number=round_number,
        )
        seeds = sampling.seeds(batch.indices)
        found = complete(self.policy, batch.samples, sampling, seeds=seeds, sampler=self.sampler)
        return Rollout.of(found, batch.samples, size)

    def draw_again(self, batch: PromptBatch, round_number: int) -> tuple[Rollout, Scores]:
        """Scored completions of fresh prompts."""
        rollout = self.generate(batch, round_number=round_number)
        return rollout, self.score(rollout)

    @property
    def updates_per_step(self) -> int:
        return self.grpo.updates_per_rollout

    @property
    def distribution(self) -> dict[str, Any]:
        """What completions are sampled from, and what their log-probabilities are taken of."""
        return {"temperature": self.rollout.temperature, "top_k": self.rollout.top_k}

    def score(self, rollout: Rollout) -> Scores:
        """The rewards of a rollout as tensors."""
        table = self.scorer(rollout.completions, rollout.row_samples)
        return Scores(
            total=torch.tensor(table.total, device=self.device),
            parts={k: torch.tensor(v, device=self.device) for k, v in table.parts.items()},
            weights=table.weights,
            states=table.states,
            raw=table.raw,
            failures=table.failures,
        )

    @property
    def scores_beside_reference(self) -> bool:
        """Whether rewards are scored while the reference runs: it is on a GPU, they are not.

        Refilled groups must be scored before they are known, so then one follows the other.
        """
        gpu = self.device.type == "cuda"
        return gpu and self.reference is not None and not self.grpo.refill_rounds

    def score_beside_reference(self, rollout: Rollout) -> tuple[Scores, Tensor | None]:
        """The rewards, and the reference's log-probabilities where both run at once."""
        if not self.scores_beside_reference:
            return self.score(rollout), None
        with ThreadPoolExecutor(1) as pool:
            scores = pool.submit(self.score, rollout)
            ref_logprobs = self.reference_logprobs(rollout)
            return scores.result(), ref_logprobs

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

    def make_experience(
        self, rollout: Rollout, scores: Scores, ref_logprobs: Tensor | None = None
    ) -> Experience:
        """Advantages, and the reference's log-probabilities where the KL term is on."""
        if ref_logprobs is None:
            ref_logprobs = self.reference_logprobs(rollout)
        if self.iteration == 0 and self.grpo.self_check:
            check_start(
                self.policy,
                rollout,
                ref_logprobs,
                max_tokens=self.grpo.tokens_per_micro_batch,
                precision="bf16" if self.rollout.samples_apart else str(self.trainer.precision),
                **self.distribution,
            )
        return Experience(
            rollout=rollout, advantages=self.advantages(scores), ref_logprobs=ref_logprobs
        )

    def advantages(self, scores: Scores) -> Tensor:
        """Advantages of this rank's rows, float [N]; batch moments run over all ranks."""
        rank = self.trainer.global_rank
        return advantages_over_ranks(scores, self.grpo, gather=self._gather, rank=rank)

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

    def _log_step(
        self, rollout: Rollout, scores: Scores, terms: LossTerms, clock: Stopwatch
    ) -> None:
        sums = step_sums(rollout, scores, terms, self._gather(scores.total))
        if self.reference is None:
            del sums["train/kl"]
        self.log_means({**sums, **{name: (lap, 1.0) for name, lap in clock.laps.items()}})
        self.log_optimizer()

    def _gather(self, rows: Tensor) -> Tensor:
        """Rows [N, ...] of all ranks, [W*N, ...], in rank order."""
        everywhere = self.all_gather(rows)
        return everywhere.flatten(0, 1) if self.world_size > 1 else rows  # type: ignore[union-attr]
