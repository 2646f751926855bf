"""The scorer of a training run."""

from __future__ import annotations

from rl4bio.errors import ConfigError
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import RepeatGuard, reads_molecules
from rl4bio.sections import RunConfig
from rl4bio.types import Scorer


def build_scorer(config: RunConfig) -> Scorer:
    """The configured rewards; for molecules behind a guard against repeats, with its memory.

    Evaluation, validation and `rl4bio score` use the rewards without it.

    Raises:
        ConfigError: a reward is refused, or repeats could not be kept from paying.
        DataError: a file that a reward needs cannot be used.
    """
    rewards = WeightedRewards.from_config(config.rewards)
    if not reads_molecules(rewards):
        return rewards
    section = config.molecules
    zeroes = "zero" in (section.batch_repeats, section.seen_before)
    if config.grpo.combine == "normalize_then_sum" and zeroes:
        raise ConfigError(
            "grpo.combine: normalize_then_sum reads each reward by itself, so that the zero total "
            "of repeated molecules would have no effect; write sum_then_normalize, or "
            "molecules.batch_repeats=keep and molecules.seen_before=keep"
        )
    return RepeatGuard(rewards, section)
