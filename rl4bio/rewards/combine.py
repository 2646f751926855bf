"""The configured rewards behind one call: checked, weighted and added."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rl4bio.errors import ConfigError, DataError, ModelError
from rl4bio.files.plugin_file import MODULES, PREFIX
from rl4bio.registry import about_options
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.build import build_rewards
from rl4bio.rewards.checked import run_raw, run_reward
from rl4bio.rewards.workers.guest import Guest
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample, ScoreTable


@contextlib.contextmanager
def _about(where: str, options: Collection[str]) -> Iterator[None]:
    """Put the place of a reward in front of what it says of its options."""
    try:
        yield
    except (ConfigError, DataError, ModelError) as error:
        if str(error).startswith("rewards["):
            raise
        raise type(error)(about_options(where, options, error)) from error


@dataclass(kw_only=True)
class WeightedRewards:
    """A `Scorer`: the weighted sum over the rewards that could score a row.

    Every reward sees its own copy of the texts and samples, and what it returns is checked: a
    reward that raises, or gives anything but one finite number (or None or NaN, "could not be
    scored") a completion, ends in a RewardError and never in a silent zero.
    """

    rewards: dict[str, Reward]
    weights: dict[str, float]
    """By the same names; multiplied by the values, not normalised."""
    guests: dict[str, Guest] = field(default_factory=dict)
    """Those of the rewards that score in processes of their own."""

    @classmethod
    def from_config(cls, configs: Sequence[RewardConfig]) -> WeightedRewards:
        """Build the rewards of a configuration.

        Raises:
            ConfigError: no reward, one named twice, an unknown name, or an option that is refused.
            DataError: a file that a reward needs cannot be used.
        """
        if not configs:
            raise ConfigError("rewards: is empty; name at least one, such as {name: verdict}")
        rewards = build_rewards(configs)
        guests: dict[str, Guest] = {}
        for index, (config, reward) in enumerate(zip(configs, rewards.values(), strict=True)):
            if not needs_process(config):
                with _about(f"rewards[{index}].options", config.options):
                    reward.prepare()
                continue
            guests[config.name] = Guest(
                config,
                where=f"rewards[{index}]",
                plugins=plugin_modules(),
                whole=type(reward).__call__ is not Reward.__call__,
            )
        weights = {config.name: config.weight for config in configs}
        return cls(rewards=rewards, weights=weights, guests=guests)

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> ScoreTable:
        """Score N completions, given the sample that each of them answers.

        Raises:
            RewardError: a reward raised, or returned something else than N numbers.
        """
        if len(completions) != len(samples):
            raise ValueError(f"{len(completions)} completions for {len(samples)} samples")
        parts: dict[str, list[float]] = {}
        raw: dict[str, list[float]] = {}
        for name, reward in self.rewards.items():
            if name in self.guests:
                parts[name], more = self.guests[name].score(completions, samples)
                raw |= more
            else:
                parts[name] = run_reward(name, reward, completions, samples)
        rows = range(len(completions))
        total = [weighted_total({n: v[i] for n, v in parts.items()}, self.weights) for i in rows]
        for name, reward in self.rewards.items():
            if name not in self.guests:
                raw |= run_raw(name, reward, completions, samples)
        return ScoreTable(
            total=total,
            parts=parts,
            weights=dict(self.weights),
            raw={name: raw[name] for name in sorted(raw, key=self._place)},
            failures={name: guest.failures.total() for name, guest in self.guests.items()},
        )

    def _place(self, raw: str) -> int:
        """Where a raw value stands: with its reward, whose name it begins with."""
        order = list(self.rewards)
        return max((n for n, name in enumerate(order) if raw.startswith(name)), default=0)


def needs_process(config: RewardConfig) -> bool:
    """Whether a reward scores in a process of its own."""
    if config.isolation != "auto":
        return config.isolation == "process"
    return config.on_error != "stop" or _is_foreign({"name": config.name, **config.options})


def _is_foreign(value: Any) -> bool:
    """Whether a reward, or one among its options, is a plugin's or may run for ever."""
    if isinstance(value, Mapping):
        name = value.get("name")
        if isinstance(name, str) and name in REWARDS.names():
            found = REWARDS.get(name)
            if found.may_hang or (name in REWARDS.registered() and plugin_of(found) is not None):
                return True
        rules = value.get("rules")
        if isinstance(rules, Mapping) and rules.get("alerts"):  # SMARTS of one's own
            return True
        return any(map(_is_foreign, value.values()))
    return isinstance(value, list | tuple) and any(map(_is_foreign, value))


def plugin_modules() -> list[str]:
    """The files and modules that registered rewards, as another process can import them."""
    found = (plugin_of(cls) for cls in REWARDS.registered().values())
    return list(dict.fromkeys(place for place in found if place is not None))


def plugin_of(cls: type) -> str | None:
    """The plugin that a class comes from; None where it was registered by other means."""
    if cls.__module__.startswith(PREFIX):
        return str(sys.modules[cls.__module__].__file__)
    return cls.__module__ if cls.__module__ in MODULES else None


def weighted_total(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted sum over the values that are not NaN; NaN where all are."""
    scored = [weights[name] * value for name, value in values.items() if not math.isnan(value)]
    return math.fsum(scored) if scored else math.nan
