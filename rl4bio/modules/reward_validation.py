"""Validation by rewards: greedy completions of the validation prompts."""

from __future__ import annotations

from rl4bio.modules.backends import Sampler
from rl4bio.modules.base import PolicyModule
from rl4bio.modules.step_metrics import validation_sums
from rl4bio.sections import RolloutConfig
from rl4bio.types import PromptBatch, Scorer


class RewardValidation(PolicyModule):
    """The validation hooks of a module that has a scorer."""

    scorer: Scorer
    rollout: RolloutConfig
    sampler: Sampler

    @property
    def unguarded(self) -> Scorer:
        """The scorer without a memory of what training has seen."""
        return getattr(self.scorer, "scorer", self.scorer)

    def on_validation_epoch_start(self) -> None:
        self._validation: dict[str, list[float]] = {}

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Greedy completions of the validation prompts, scored by the same rewards."""
        found = self.sampler(
            **self.policy.inputs(batch.samples),
            group_size=1,
            max_new_tokens=self.rollout.max_completion_tokens,
            temperature=1.0,
            seeds=None,
        )
        table = self.unguarded(found.texts, batch.samples)
        columns = {"reward": table.total, **table.parts, "truncated": found.truncated.tolist()}
        for name, values in columns.items():
            self._validation.setdefault(name, []).extend(map(float, values))

    def on_validation_epoch_end(self) -> None:
        if not self._validation:  # a rank without validation samples reduces with the others
            parts = self.unguarded([], []).parts
            self._validation = {name: [] for name in ("reward", *parts, "truncated")}
        self.log_means(validation_sums(self._validation))
