"""Replay in a training step: what is remembered of it, and what joins its update."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from rl4bio.errors import ConfigError
from rl4bio.functional.replay import replay_advantages
from rl4bio.modules.replay.memory import ReplayMemory
from rl4bio.modules.replay.respelling import check_prompts, respelled
from rl4bio.modules.replay.rows import rollout_of, worth_keeping
from rl4bio.modules.update import RolloutUpdate
from rl4bio.types import Experience, Rollout, Scores

RANDOMIZE = "grpo.replay.randomize"


class ReplayUpdate(RolloutUpdate):
    """Updates that also learn from a memory of the best completions (`grpo.replay`).

    Every rank is offered the completions of all, in the same order, and so has the same memory; of
    the rows that are drawn from it, each takes its share.
    """

    memory: ReplayMemory | None = None

    def remember(self, rollout: Rollout, scores: Scores, advantages: Tensor) -> None:
        """Offer the completions of a step to the memory."""
        if self.memory is not None:
            if self.memory.section.randomize:
                check_prompts(rollout.samples, RANDOMIZE)
                if scores.states is None:
                    raise ConfigError(f"{RANDOMIZE}: needs rewards of molecules; leave it out")
            own = worth_keeping(rollout, scores, advantages, self.remembering.places)
            self.memory.add(self.gather_values(own))

    def replayed(self, advantages: Tensor) -> Experience | None:
        """This rank's rows from memory, with their advantages; None where there are none.

        Args:
            advantages: float [N], of the sampled rows of this rank.
        """
        section = self.grpo.replay
        if self.memory is None or section is None:
            return None
        everywhere = self._gather(advantages)
        seed = draw_seed("replay", self.seed, self.iteration)
        drawn = self.memory.draw(seed)[self.trainer.global_rank :: self.world_size]
        if not drawn:
            self.attend_reference()
            return None
        if section.randomize:
            limit = self.rollout.max_completion_tokens
            drawn = [respelled(self.policy, entry, seed, limit=limit) for entry in drawn]
        rollout = rollout_of(drawn, self.policy.pad_id, self.device)
        stored = torch.tensor([entry.advantage for entry in drawn], device=self.device)
        return Experience(
            rollout=rollout,
            advantages=replay_advantages(stored, everywhere, kind=section.advantage),
            ref_logprobs=self.reference_logprobs(rollout),
            from_memory=True,
        )

    def _gather(self, rows: Tensor) -> Tensor:
        """Rows [N, ...] of all ranks, [W*N, ...], in rank order."""
        everywhere = self.all_gather(rows)
        return everywhere.flatten(0, 1) if self.world_size > 1 else rows  # type: ignore[union-attr]


def draw_seed(what: str, seed: int, iteration: int) -> int:
    """A seed of 63 bits for one draw of one step, the same on every rank and machine."""
    digest = hashlib.blake2b(f"{what}/{seed}/{iteration}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
