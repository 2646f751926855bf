"""The scorer of a training run."""

from __future__ import annotations

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import RepeatGuard, reads_molecules
from rl4bio.sections import RunConfig
from rl4bio.types import Scorer


def build_scorer(config: RunConfig) -> Scorer:
    """The configured rewards; for molecules behind a guard against repeats, with its memory.

    Evaluation, validation and `rl4bio score` use the rewards without it.

    Raises:
        ConfigError: a reward is refused.
        DataError: a file that a reward needs cannot be used.
    """
    rewards = WeightedRewards.from_config(config.rewards)
    if not reads_molecules(rewards):
        return rewards
    return RepeatGuard(rewards, config.molecules)
