"""The numbers of a GRPO step and of its validation, as sums and counts to add over ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rl4bio.functional.advantages import scored_std, zero_spread_groups
from rl4bio.types import LossTerms, MoleculeState, Rollout, Scores

STATE_METRICS: dict[str, tuple[MoleculeState, ...]] = {
    "valid": ("valid", "duplicate", "seen"),
    "duplicate": ("duplicate",),
    "seen": ("seen",),
}
"""Metric -> the states of a molecule that count for it."""


def step_sums(
    rollout: Rollout, scores: Scores, terms: LossTerms, everywhere: Tensor | None = None
) -> dict[str, tuple[float, float]]:
    """Metric name -> (sum, count) on this rank; rows that could not be scored do not count.

    Args:
        rollout: of the step.
        scores: of its rows.
        terms: of its update.
        everywhere: total rewards of all ranks, whose spread is no mean of the ranks' own; None
            where there is one rank.
    """
    everywhere = scores.total if everywhere is None else everywhere
    rows = float(len(rollout.completions))
    lengths = rollout.completion_mask.sum(-1)
    silent = zero_spread_groups(scores.total, rollout.group_size)
    seen = {
        "train/loss": (terms.total, 1.0),
        "train/policy_loss": (terms.policy, 1.0),
        "train/kl": (terms.kl, 1.0),
        "train/clip_fraction": (terms.clip_fraction, 1.0),
        "train/ratio_mean": (terms.ratio_mean, 1.0),
        "train/entropy": (terms.entropy, 1.0),
        "rollout/completion_tokens_mean": (lengths.sum(), rows),
        "rollout/truncated_fraction": (rollout.truncated.sum(), rows),
        "reward/total_std": (scored_std(everywhere), 1.0),
        "reward/zero_spread_fraction": (silent.sum(), float(len(silent))),
        "reward/unscored_fraction": (scores.total.isnan().sum(), rows),
    }
    here = terms.total.device
    numbers = torch.stack([value.to(here) for value, _ in seen.values()]).tolist()  # one wait
    sums = {name: (value, n) for (name, (_, n)), value in zip(seen.items(), numbers, strict=True)}
    if scores.states is not None:
        asked = len(scores.states) - scores.states.count("other")
        for key, wanted in STATE_METRICS.items():
            count = sum(state in wanted for state in scores.states)
            sums[f"reward/{key}_fraction"] = (float(count), float(asked))
    for name, values in {"total": scores.total, **scores.parts}.items():
        known = values[~values.isnan()]
        sums[f"reward/{name}_mean"] = (float(known.sum()), float(len(known)))
    for name, count in scores.failures.items():
        sums[f"reward/{name}_failed_fraction"] = (float(count), rows)
    return sums


def validation_sums(values: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Metric name -> (sum, count) of a rank's validation rows; NaN rows do not count.

    Args:
        values: reward, the rewards' names and truncated -> one number a row.
    """
    sums = {}
    for name, column in values.items():
        known = [value for value in column if value == value]
        key = "val/truncated_fraction" if name == "truncated" else f"val/{name}_mean"
        sums[key] = (sum(known), float(len(known)))
    return sums


def mean_terms(terms: Sequence[LossTerms], *, passes: int, share: float = 1.0) -> LossTerms:
    """Micro-batch terms added up within a pass and averaged over the passes, without gradient.

    Args:
        terms: of all micro-batches and passes.
        passes: over the rollout.
        share: of the window's tokens that the micro-batches hold; token means are of those alone.
    """

    def total(name: str) -> Tensor:
        return torch.stack([getattr(term, name).detach() for term in terms]).sum() / passes

    def mean(name: str) -> Tensor:
        return total(name) / share if share else total(name)

    return LossTerms(
        total=total("total"),
        policy=total("policy"),
        kl=mean("kl"),
        clip_fraction=mean("clip_fraction"),
        ratio_mean=mean("ratio_mean"),
        entropy=mean("entropy"),
    )


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Keep the seconds since the lap before."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
