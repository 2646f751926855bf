"""Several molecule rewards as one: a weighted mean, times filters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rl4bio.errors import ConfigError
from rl4bio.registry import build_dataclass
from rl4bio.rewards import REWARDS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.checked import run_reward
from rl4bio.rewards.molecules.base import LIMITS, MoleculeReward
from rl4bio.types import Sample

SMALLEST = 1e-8
"""A score of 0 in the geometric mean, so that the other scores still count a little."""


@dataclass(kw_only=True)
class Filter:
    """A reward that multiplies: an entry of `filters`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    """Name of its column among the raw values; needed where a reward is listed twice."""

    def __post_init__(self) -> None:
        if re.fullmatch(r"[A-Za-z0-9_]*", self.label) is None:
            raise ValueError(f"label: {self.label!r}; use letters, digits and '_'")

    @property
    def key(self) -> str:
        """What tells it from other filters of its name."""
        return self.label or self.name


@dataclass(kw_only=True)
class Part(Filter):
    """A reward with its weight in the mean: an entry of `parts`."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight: got {self.weight}, needs a finite number above 0")


@dataclass(kw_only=True)
class CombinedReward(MoleculeReward):
    """The weighted mean of several molecule rewards, times its filters; in [0, 1], invalid 0.

    arithmetic: sum of w s / sum of w; geometric: product of max(s, 1e-8)^(w / sum of w). A part
    that could not score a molecule (NaN) is left out of its mean, and the others' weights count
    alone; the mean is NaN where no part could. A filter's NaN makes the reward NaN.

    Raw values: `<part>` in its own unit and `<part>_score` in [0, 1], filters alike.
    """

    parts: list[dict[str, Any]]
    """{name, weight, options, label} of each reward; weight is 1 where it is left out."""
    filters: list[dict[str, Any]] = field(default_factory=list)
    """{name, options, label} of rewards that multiply the mean, such as pains."""
    mode: Literal["arithmetic", "geometric"] = "arithmetic"
    rules: Any = "standard"
    """As of every molecule reward, here on unless switched off with none; they hold for the parts
    and filters too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise ConfigError("parts: is empty; name at least one, such as {name: qed}")
        self._rewards: dict[str, Reward] = {}
        self._weights: dict[str, float] = {}
        for index, entry in enumerate(self.parts):
            part = build_dataclass(Part, entry, where=f"parts[{index}]")
            self._add(part, f"parts[{index}]")
            self._weights[part.key] = part.weight
        for index, entry in enumerate(self.filters):
            where = f"filters[{index}]"
            self._add(build_dataclass(Filter, entry, where=where), where)

    def _add(self, entry: Filter, where: str) -> None:
        reward = REWARDS.build(entry.name, self._with_limits(entry, where), where=where)
        if not reward.reads_molecules:
            raise ConfigError(f"{where}.name: {entry.name!r} does not read molecules")
        taken = {name for key in self._rewards for name in (key, f"{key}_score")}
        if taken & {entry.key, f"{entry.key}_score"}:
            raise ConfigError(f"{where}: {entry.key!r} is listed twice; give one a label")
        self._rewards[entry.key] = reward

    def _with_limits(self, entry: Filter, where: str) -> dict[str, Any]:
        """The entry's options with our limits of a valid molecule, unless it has its own."""
        known = getattr(REWARDS.get(entry.name, where=f"{where}.name"), "__dataclass_fields__", {})
        ours = {name: getattr(self, name) for name in LIMITS if name in known}
        return {**ours, **entry.options}

    def prepare(self) -> None:
        for reward in self._rewards.values():
            reward.prepare()

    def __call__(self, completions: Sequence[str], samples: Sequence[Sample]) -> list[float]:
        scores = {
            key: run_reward(key, reward, completions, samples)
            for key, reward in self._rewards.items()
        }
        molecules = self.molecules(completions, samples)
        return [
            self.reward_of(
                molecules[row],
                sample,
                self.combine({key: values[row] for key, values in scores.items()}),
            )
            for row, sample in enumerate(samples)
        ]

    def combine(self, scores: Mapping[str, float]) -> float:
        """The reward of one valid molecule from its scores, parts and filters by key."""
        known = {k: scores[k] for k in self._weights if not math.isnan(scores[k])}
        if not known:
            return math.nan
        whole = math.fsum(self._weights[key] for key in known)
        terms = [(self._weights[key] / whole, score) for key, score in known.items()]
        if self.mode == "geometric":
            mean = math.exp(math.fsum(w * math.log(max(s, SMALLEST)) for w, s in terms))
        else:
            mean = math.fsum(w * s for w, s in terms)
        return mean * math.prod(s for key, s in scores.items() if key not in self._weights)

    def raw_values(
        self, completions: Sequence[str], samples: Sequence[Sample]
    ) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for key, reward in self._rewards.items():
            for suffix, values in reward.raw_values(completions, samples).items():
                found[f".{key}{suffix}"] = values
            found[f".{key}_score"] = run_reward(key, reward, completions, samples)
        return found
