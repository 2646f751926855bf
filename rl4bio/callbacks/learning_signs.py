"""Signs that training teaches nothing, read from the metrics of consecutive steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

Row = dict[str, float]
"""The metrics of one step."""

EQUAL = 0.9
"""Share of groups with equal rewards, from which on steps are all but lost: a run on PubMedQA that
had them in 93 % of its groups for seventy steps ended where it began."""
TRUNCATED = 0.95
"""Share of completions that are cut off, from which on nearly no answer is whole."""
ENTROPY_LOST = 0.1
"""Share of the first steps' entropy below which the policy has collapsed ..."""
ENTROPY_LOW = 0.1
"""... where it is also less than this, in nats a token."""
KL_HIGH = 5.0
"""Mean divergence from the reference in nats a token: a policy that has left it."""
LENGTH_GROWN = 2.0
"""Completions as many times as long as those of the first steps, most of them cut off."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A name for summary.json, and what is wrong, empty where nothing is."""

    name: str
    message: str


def no_spread(first: Sequence[Row], last: Sequence[Row]) -> str:
    """Nearly every group earns one reward."""
    equal = _mean(last, "reward/zero_spread_fraction")
    if not equal >= EQUAL:
        return ""
    few = "no group" if equal == 1 else f"{1 - equal:.0%} of the groups"
    return (
        f"in {few} did the rewards differ, so little is learnt; give graded credit (reward "
        "structure), raise grpo.group_size or rollout.temperature, set grpo.refill_rounds, or "
        "begin with a warm start (task=sft)"
    )


def all_truncated(first: Sequence[Row], last: Sequence[Row]) -> str:
    """Nearly every completion is cut off."""
    if not _all(last, "rollout/truncated_fraction", lambda share: share >= TRUNCATED):
        return ""
    return (
        "nearly every completion was cut off before its end; raise rollout.max_completion_tokens, "
        "or reward short answers (reward length)"
    )


def unscored(first: Sequence[Row], last: Sequence[Row]) -> str:
    """A reward can score nothing."""
    names = [k[len("reward/") : -len("_mean")] for k in last[-1] if _is_reward(k)]
    blind = [n for n in names if _all(last, f"reward/{n}_mean", math.isnan)]
    if not blind:
        return ""
    return (
        f"{', '.join(blind)} could score no completion (NaN); the samples lack what it needs: "
        "check data.options, or remove it from rewards"
    )


def entropy_lost(first: Sequence[Row], last: Sequence[Row]) -> str:
    """The policy writes the same again and again."""
    before, now = (_mean(rows, "train/entropy") for rows in (first, last))
    if not (now < ENTROPY_LOW and now < ENTROPY_LOST * before):
        return ""
    return (
        f"the entropy fell from {before:.3g} to {now:.3g} nats a token: the policy repeats itself; "
        "lower optim.lr, raise grpo.clip_high, or set grpo.kl_coef"
    )


def kl_runaway(first: Sequence[Row], last: Sequence[Row]) -> str:
    """The policy is far from its reference."""
    now = _mean(last, "train/kl")
    if not now > KL_HIGH:
        return ""
    return (
        f"the policy has left its reference (KL {now:.3g} nats a token); lower optim.lr, or raise "
        "grpo.kl_coef"
    )


def length_runaway(first: Sequence[Row], last: Sequence[Row]) -> str:
    """Completions grow until they are cut off."""
    before, now = (_mean(rows, "rollout/completion_tokens_mean") for rows in (first, last))
    cut = _mean(last, "rollout/truncated_fraction")
    if not (now > LENGTH_GROWN * before and cut > 0.5):
        return ""
    return (
        f"completions grew from {before:.0f} to {now:.0f} tokens and {cut:.0%} are cut off; reward "
        "short answers (reward length), or raise rollout.max_completion_tokens"
    )


def no_gradient(first: Sequence[Row], last: Sequence[Row]) -> str:
    """Nothing pulls at the weights, though rewards differ."""
    if not _all(last, "train/grad_norm", lambda norm: norm == 0) or no_spread(first, last):
        return ""
    return (
        "the gradient was 0, so nothing is learnt; is everything left out of the loss "
        "(grpo.mask_truncated, sft.max_tokens)?"
    )


SIGNS: dict[str, Callable[[Sequence[Row], Sequence[Row]], str]] = {
    "no_spread": no_spread,
    "all_truncated": all_truncated,
    "unscored": unscored,
    "no_gradient": no_gradient,
    "entropy_lost": entropy_lost,
    "kl_runaway": kl_runaway,
    "length_runaway": length_runaway,
}
"""Name -> what is wrong in the last steps, compared with the first ones where that matters."""


def signs_in(first: Sequence[Row], last: Sequence[Row]) -> list[Sign]:
    """The signs of some consecutive steps.

    Args:
        first: the rows of the run's first steps.
        last: as many rows, the newest last; at least one.
    """
    found = [Sign(name, holds(first, last)) for name, holds in SIGNS.items()]
    return [sign for sign in found if sign.message]


def _is_reward(key: str) -> bool:
    return key.startswith("reward/") and key.endswith("_mean") and key != "reward/total_mean"


def _all(rows: Sequence[Row], key: str, holds: Callable[[float], bool]) -> bool:
    return all(key in row and holds(row[key]) for row in rows)


def _mean(rows: Sequence[Row], key: str) -> float:
    """NaN, with which every comparison is false, where a row has no finite value."""
    values = [row.get(key, math.nan) for row in rows]
    return fmean(values) if all(map(math.isfinite, values)) else math.nan
