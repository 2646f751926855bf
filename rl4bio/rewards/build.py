"""Rewards from a configuration, each by itself: made and checked, nothing of theirs loaded."""

from __future__ import annotations

from collections.abc import Sequence

from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.sections import RewardConfig, require


def build_rewards(configs: Sequence[RewardConfig]) -> dict[str, Reward]:
    """The rewards by name, in their order.

    Raises:
        ConfigError: an unknown name, one that stands there twice, an option that is refused, or a
            weight that would pay more for what is no molecule than for one.
    """
    found: dict[str, Reward] = {}
    for index, config in enumerate(configs):
        where = f"rewards[{index}]"
        reward = REWARDS.build(config.name, config.options, where=where)
        require(
            not (reward.reads_molecules and config.weight < 0),
            f"{where}.weight",
            f"got {config.weight}, but {config.name!r} is 0 for what is no molecule, which would "
            "then pay more than a molecule; give it a transform that falls, such as {kind: "
            "reverse_sigmoid, low: 1, high: 3}, and a weight above 0",
        )
        if config.name in found:
            first = list(found).index(config.name)
            raise ConfigError(
                f"{where}.name: {config.name!r} is rewards[{first}] already; keep one of them"
            )
        found[config.name] = reward
    return found
