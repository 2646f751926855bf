"""Statistics of labelled and open answers: rates, F1, label mix, each with a bootstrap interval.

Pure numpy. Labels are yes, no and maybe, or the letters of options. A missing answer (None) is a
wrong answer everywhere but in `accuracy_given_parse`; an item without a gold label is in no rate of
right answers.
All intervals of one table are drawn with the same seed, so they resample the same items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rl4bio.answers.answer import Answer
from rl4bio.answers.verdict import LABELS
from rl4bio.statistics.bootstrap import Estimate, estimate, mean_statistic, ratio_statistic
from rl4bio.statistics.draws import pass_at_k, pass_counts
from rl4bio.statistics.labels import IndexStatistic, confusion_counts, f1_statistic, label_mix


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMetrics:
    """What a model reaches on a set of items; shares in [0, 1]."""

    num_items: int
    parse_strict: Estimate
    parse_lenient: Estimate
    accuracy: Estimate
    """Strict parser; no answer counts as wrong."""
    accuracy_lenient: Estimate
    accuracy_given_parse: Estimate
    """Share of right answers among the strictly parsed ones."""
    macro_f1: Estimate
    class_f1: dict[str, Estimate]
    label_mix: dict[str, float]
    """Share of each predicted label by the strict parser, and of `none`; {} for open questions."""
    confusion: dict[str, dict[str, int]]
    """Gold label -> predicted label or `none` -> items."""
    tokens_mean: Estimate
    truncated_fraction: float
    """NaN where nothing was generated."""
    grounding: Estimate
    """Mean over the items with a context and a thought to read."""
    rewards: dict[str, Estimate]
    """Mean of each reward part and of `total`, over the items that could be scored."""
    parse_draws: Estimate
    """Share of strictly parsed draws; NaN for single answers."""
    pass_at: dict[int, Estimate]
    """k -> pass@k of several draws; {} for single answers."""
    more: dict[str, Estimate] = field(default_factory=dict)
    """What only some tasks have, of `task_statistics`; {} for most questions."""


def answer_metrics(
    items: Sequence[Answer],
    *,
    labels: Sequence[str] = LABELS,
    seed: int,
    rounds: int,
    more: Mapping[str, IndexStatistic] | None = None,
) -> AnswerMetrics:
    """All statistics of one model's answers.

    Args:
        items: one answer an item; every item has the same reward parts and number of draws.
        labels: the classes of F1, mix and confusion; () for open questions.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.
        more: further statistics of the same items, such as `task_statistics`.

    Raises:
        ValueError: a gold label is not one of the labels, or reward parts or numbers of draws
            differ between items.
    """
    size = len(items)
    parts = list(items[0].rewards) if items else []
    draws = items[0].num_draws if items else 0
    if any(list(item.rewards) != parts for item in items):
        raise ValueError("answer_metrics: the items do not all have the same reward parts")
    if any(item.num_draws != draws for item in items):
        raise ValueError("answer_metrics: the items do not all have the same number of draws")
    gold = [item.gold for item in items if item.gold is not None]
    strict = [item.strict for item in items]
    parsed = [item.strict is not None for item in items]
    generated = [not math.isnan(item.tokens) for item in items]

    def of(statistic: IndexStatistic) -> Estimate:
        return estimate(statistic, size=size, seed=seed, rounds=rounds)

    def mean(value: Callable[[Answer], float]) -> Estimate:
        return of(mean_statistic([value(item) for item in items]))

    undefined = Estimate(value=math.nan, low=math.nan, high=math.nan)
    passes = draws if labels else 0
    return AnswerMetrics(
        num_items=size,
        parse_strict=mean(lambda item: item.strict is not None),
        parse_lenient=mean(lambda item: item.lenient is not None),
        accuracy=mean(lambda item: item.agrees(item.strict)),
        accuracy_lenient=mean(lambda item: item.agrees(item.lenient)),
        accuracy_given_parse=of(ratio_statistic([item.right for item in items], parsed))
        if labels
        else undefined,
        macro_f1=of(f1_statistic(gold, strict, labels)) if labels else undefined,
        class_f1={label: of(f1_statistic(gold, strict, labels, of=(label,))) for label in labels},
        label_mix=label_mix(strict, labels) if labels else {},
        confusion=confusion_counts(gold, strict, labels) if labels else {},
        tokens_mean=mean(lambda item: item.tokens),
        truncated_fraction=(
            sum(item.truncated for item in items) / sum(generated) if any(generated) else math.nan
        ),
        grounding=mean(lambda item: item.grounding),
        rewards={p: of(mean_statistic([item.rewards[p] for item in items])) for p in parts},
        parse_draws=mean(lambda item: item.num_parsed / draws if draws else math.nan),
        pass_at={
            k: of(mean_statistic([pass_at_k(draws, item.num_right, k) for item in items]))
            for k in pass_counts(passes)
        },
        more={name: of(statistic) for name, statistic in (more or {}).items()},
    )
