"""Two models on the same items: who is right where, and whether the difference is chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rl4bio.evaluation.answers import (
    Answer,
    Estimate,
    IndexStatistic,
    estimate,
    macro_f1_statistic,
    mean_statistic,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTable:
    """Counts of items by who answers them right (strict parser)."""

    both_right: int
    only_base: int
    only_tuned: int
    both_wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Base against tuned in one mode."""

    table: PairedTable
    p_value: float
    """Exact McNemar test of the table, two-sided."""
    differences: dict[str, Estimate]
    """Tuned minus base: accuracy, accuracy_lenient (a gain in form alone leaves it at 0), macro_f1,
    parse_strict, and reward_total where there is one."""


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar p: min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2).

    McNemar, 1947; the exact form conditions on the discordant pairs. In integers up to the last
    division, so no count is too large for it.

    Args:
        only_a: items that only the first model answers right.
        only_b: items that only the second model answers right.

    Raises:
        ValueError: a count is negative.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"mcnemar_exact: got counts {only_a} and {only_b}, needs at least 0")
    discordant = only_a + only_b
    term = tail = 1  # C(n, 0)
    for k in range(1, min(only_a, only_b) + 1):
        term = term * (discordant - k + 1) // k  # C(n, k) from C(n, k - 1), exact
        tail += term
    return min(1.0, 2 * tail / 2**discordant)


def paired_table(base: Sequence[bool], tuned: Sequence[bool]) -> PairedTable:
    """Counts from the right/wrong of each item, in the same order for both."""
    pairs = list(zip(base, tuned, strict=True))
    return PairedTable(
        both_right=sum(b and t for b, t in pairs),
        only_base=sum(b and not t for b, t in pairs),
        only_tuned=sum(t and not b for b, t in pairs),
        both_wrong=sum(not b and not t for b, t in pairs),
    )


def compare_answers(
    base: Sequence[Answer], tuned: Sequence[Answer], *, seed: int, rounds: int
) -> PairedComparison:
    """The paired table, its p value and the differences with their bootstrap intervals.

    Args:
        base: answers of the base model.
        tuned: answers of the tuned model to the same items in the same order.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.

    Raises:
        ValueError: the two do not answer the same items.
    """
    gold = [answer.gold for answer in base]
    if gold != [answer.gold for answer in tuned]:
        raise ValueError("compare_answers: base and tuned do not answer the same items")
    old_f1 = macro_f1_statistic(gold, [answer.strict for answer in base])
    new_f1 = macro_f1_statistic(gold, [answer.strict for answer in tuned])

    def mean_gain(value: Callable[[Answer], float]) -> IndexStatistic:
        # The difference of two means over the same items is the mean difference; NaN drops out.
        pairs = zip(base, tuned, strict=True)
        return mean_statistic([float(value(new)) - float(value(old)) for old, new in pairs])

    statistics: dict[str, IndexStatistic] = {
        "accuracy": mean_gain(lambda answer: answer.right),
        "accuracy_lenient": mean_gain(lambda answer: answer.lenient == answer.gold),
        "macro_f1": lambda index: new_f1(index) - old_f1(index),
        "parse_strict": mean_gain(lambda answer: answer.strict is not None),
    }
    if gold and all("total" in answer.rewards for answer in (*base, *tuned)):
        statistics["reward_total"] = mean_gain(lambda answer: answer.rewards["total"])
    table = paired_table([a.right for a in base], [a.right for a in tuned])
    return PairedComparison(
        table=table,
        p_value=mcnemar_exact(table.only_base, table.only_tuned),
        differences={
            name: estimate(statistic, size=len(gold), seed=seed, rounds=rounds)
            for name, statistic in statistics.items()
        },
    )
