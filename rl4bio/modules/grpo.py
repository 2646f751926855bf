"""GRPO as a LightningModule: rollout, rewards, advantages and updates in one training step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rl4bio.engine.sharding import shards_of
from rl4bio.modules.backends import build_sampler
from rl4bio.modules.bad_numbers import weight_named
from rl4bio.modules.completing import Sampling, complete
from rl4bio.modules.dropout import switch_off_dropout
from rl4bio.modules.phases import phase
from rl4bio.modules.policy import Policy
from rl4bio.modules.reference import Reference
from rl4bio.modules.refill import refill, spare_prompts
from rl4bio.modules.replay.memory import ReplayMemory
from rl4bio.modules.replay.mixing import ReplayUpdate
from rl4bio.modules.replay.offspring import Breeder
from rl4bio.modules.self_check import check_start
from rl4bio.modules.step_advantages import advantages_over_ranks, augmented, of_the_best
from rl4bio.modules.step_metrics import Stopwatch, step_sums
from rl4bio.sections import GRPOConfig, OptimConfig, RolloutConfig
from rl4bio.types import Experience, LossTerms, PromptBatch, Rollout, Scorer, Scores


class GRPOLightningModule(ReplayUpdate):
    """Group-relative policy optimisation (Shao et al., 2024, arXiv:2402.03300) and its variants.

    Args:
        policy: model and tokenizer; an adapter is trained where there is one, else every weight.
        scorer: the rewards.
        rollout: lengths and temperature of the completions.
        grpo: objective, advantages and micro-batches.
        optim: learning rate, schedule and clipping.
        max_steps: planned training steps (rollouts), where the schedule ends.
        seed: of the sampling noise.
        breeder: of molecules beside the policy's.
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
        breeder: Breeder | None = None,
    ) -> None:
        super().__init__(policy, optim=optim, max_steps=max_steps)
        self.scorer = scorer
        self.rollout = rollout
        self.grpo = grpo
        self.seed = seed
        self.breeder = breeder
        policy.compile = rollout.compile
        self.sampler = build_sampler(policy, rollout)
        asked = grpo.kl_coef or grpo.monitor_kl or grpo.augmented_sigma
        self.reference = Reference(policy, grpo.reference) if asked else None
        self.memory = None if grpo.replay is None else ReplayMemory(grpo.replay)
        switch_off_dropout(self.model)

    def configure_model(self) -> None:
        """Share the weights out, and those of the reference."""
        super().configure_model()
        shards = shards_of(self.model)
        if shards is None:
            return
        shards.gathers_once = self.rollout.gather_weights
        if self.reference is not None:
            self.reference.begin()

    def on_fit_start(self) -> None:
        """Train mode, and one account of what was scored with the other ranks."""
        super().on_fit_start()
        self.remembering.join(self.gather_values, self.trainer.global_rank)

    @property
    def memories(self) -> dict[str, Any]:
        """Those of the scorer, the completions to replay, and a reference that moves."""
        found = dict(self.remembering.memories)
        if self.memory is not None:
            found["replay"] = self.memory
        if self.reference is not None and self.reference.moves:
            found["reference"] = self.reference
        return found

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
        self.meet()
        self.check_scored(rollout, scores)
        self.remembering.share(self.gather_values)
        experience = self.make_experience(rollout, scores, ref_logprobs)
        self.remember(rollout, scores, experience.advantages)
        bred: dict[str, float] = {}
        if self.breeder is not None:
            bred = self.breeder.step(self, batch)
            clock.lap("time/offspring_s")
        experience.replayed = self.replayed(experience.advantages)
        clock.lap("time/reference_s")
        loss_terms = self.update(experience)
        clock.lap("time/update_s")
        self.iteration += 1
        if self.reference is not None:
            self.reference.after_step(self.iteration)
        self.draws += len(batch.samples) * self.world_size
        self._log_step(rollout, scores, loss_terms, clock, bred)
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
        sampling = Sampling.at(
            self.rollout, group_size=size, seed=self.seed, round_number=round_number
        )
        seeds = sampling.seeds(batch.indices)
        with weight_named(self.model):
            found = complete(
                self.policy, batch.samples, sampling, seeds=seeds, sampler=self.sampler
            )
        return Rollout.of(found, batch.samples, size)

    def draw_again(self, batch: PromptBatch, round_number: int) -> tuple[Rollout, Scores]:
        """Scored completions of fresh prompts."""
        rollout = self.generate(batch, round_number=round_number)
        return rollout, self.score(rollout)

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

        Refilled groups must be scored before they are known, so then one follows the other; so does
        what talks to other processes.
        """
        if self.device.type != "cuda" or self.reference is None or self.grpo.refill_rounds:
            return False
        return self.world_size == 1 or not self.remembering.communicates

    def score_beside_reference(self, rollout: Rollout) -> tuple[Scores, Tensor | None]:
        """The rewards, and the reference's log-probabilities where both run at once."""
        if not self.scores_beside_reference:
            return self.score(rollout), None
        with ThreadPoolExecutor(1) as pool:
            scores = pool.submit(self.score, rollout)
            ref_logprobs = self.reference_logprobs(rollout)
            return scores.result(), ref_logprobs

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
                max_tokens=self.micro_batch_tokens,
                precision="bf16" if self.rollout.samples_apart else str(self.trainer.precision),
                **self.distribution,
            )
        sigma = self.grpo.augmented_sigma
        if sigma is None or ref_logprobs is None:
            advantages = self.advantages(scores)
        else:
            advantages = augmented(scores, rollout, ref_logprobs, sigma)
        return Experience(
            rollout=rollout,
            advantages=of_the_best(advantages, scores, self.grpo),
            ref_logprobs=ref_logprobs,
        )

    def advantages(self, scores: Scores) -> Tensor:
        """Advantages of this rank's rows, float [N]; batch moments run over all ranks."""
        rank = self.trainer.global_rank
        return advantages_over_ranks(scores, self.grpo, gather=self._gather, rank=rank)

    def _log_step(
        self,
        rollout: Rollout,
        scores: Scores,
        terms: LossTerms,
        clock: Stopwatch,
        bred: dict[str, float],
    ) -> None:
        sums = step_sums(rollout, scores, terms, self._gather(scores.total))
        sums |= {name: (value, 1.0) for name, value in bred.items()}
        if self.reference is None:
            del sums["train/kl"]
        numbers = self.remembering.numbers()
        if self.memory is not None:
            numbers |= self.memory.numbers()
        sums |= {name: (value, 1.0) for name, value in numbers.items()}
        self.log_means({**sums, **{name: (lap, 1.0) for name, lap in clock.laps.items()}})
        self.log_optimizer()
