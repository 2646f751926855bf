"""What needs a scorer beside the gradient: steps without any reward, and validation by rewards."""

from __future__ import annotations

from rl4bio.errors import RewardError
from rl4bio.modules.backends import Sampler
from rl4bio.modules.base import PolicyModule
from rl4bio.modules.completing import Sampling, complete
from rl4bio.modules.step_metrics import validation_sums
from rl4bio.sections import RolloutConfig
from rl4bio.types import PromptBatch, RememberingScorer, Rollout, Scorer, Scores


class RewardValidation(PolicyModule):
    """The checks and validation hooks of a module that has a scorer."""

    scorer: Scorer
    rollout: RolloutConfig
    sampler: Sampler

    @property
    def remembering(self) -> RememberingScorer:
        """The scorer with its hooks."""
        return RememberingScorer.of(self.scorer)

    @property
    def unguarded(self) -> Scorer:
        """The scorer without a memory of what training has seen."""
        return self.remembering.scorer

    def check_scored(self, rollout: Rollout, scores: Scores) -> None:
        """Stop where a step has no reward at all.

        Raises:
            RewardError: no completion of the step could be scored, on any rank.
        """
        if not float(self.global_sum((~scores.total.isnan()).sum().float())):
            raise RewardError(
                f"none of the {len(scores.total)} completions of {self.place} could be "
                f"scored by {', '.join(scores.parts)}; do the samples have what these rewards need "
                f"(first sample: {rollout.samples[0].uid})?"
            )

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self._validation: dict[str, list[float]] = {}

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Greedy completions of the validation prompts, scored by the same rewards."""
        greedy = Sampling(max_new_tokens=self.rollout.max_completion_tokens)
        found = complete(self.policy, batch.samples, greedy, seeds=None, sampler=self.sampler)
        table = self.unguarded(found.completions, batch.samples)
        columns = {"reward": table.total, **table.parts, "truncated": found.truncated.tolist()}
        for name, values in columns.items():
            self._validation.setdefault(name, []).extend(map(float, values))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all ranks."""
        self.meet()
        if not self._validation:  # a rank without validation samples reduces with the others
            parts = self.unguarded([], []).parts
            self._validation = {name: [] for name in ("reward", *parts, "truncated")}
        self.log_means(validation_sums(self._validation))
