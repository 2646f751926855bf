"""Two models on the same items: who is right where, and whether the difference is chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rl4bio.answers.answer import Answer
from rl4bio.answers.verdict import LABELS
from rl4bio.statistics.bootstrap import Estimate, estimate, mean_statistic
from rl4bio.statistics.draws import pass_at_k, pass_counts
from rl4bio.statistics.labels import IndexStatistic, f1_statistic
from rl4bio.statistics.task_metrics import task_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTable:
    """Counts of items by who answers them right (strict parser)."""

    both_right: int
    only_base: int
    only_tuned: int
    both_wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardTable:
    """Counts of open questions by whose total reward is higher; they have no right answer."""

    higher_base: int
    higher_tuned: int
    equal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorTable:
    """Counts of items by whose number is nearer to the label."""

    nearer_base: int
    nearer_tuned: int
    equal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """Base against tuned in one mode."""

    table: PairedTable | RewardTable | ErrorTable
    p_value: float
    """Exact McNemar test of the table, two-sided; for rewards and errors it is the sign test."""
    differences: dict[str, Estimate]
    """Tuned minus base: accuracy, accuracy_lenient (a gain in form alone leaves it at 0), macro_f1,
    parse_strict, parse_draws, tokens, truncated, grounding, pass@k, and reward_<part> of each part
    and of the total, as far as both have them; of open questions none of the first three. Where
    both have them, the statistics of `task_statistics` too."""


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
    return min(1.0, float(2 * tail / 2**discordant))


def paired_table(base: Sequence[bool], tuned: Sequence[bool]) -> PairedTable:
    """Counts from the right/wrong of each item, in the same order for both."""
    pairs = list(zip(base, tuned, strict=True))
    return PairedTable(
        both_right=sum(b and t for b, t in pairs),
        only_base=sum(b and not t for b, t in pairs),
        only_tuned=sum(t and not b for b, t in pairs),
        both_wrong=sum(not b and not t for b, t in pairs),
    )


def reward_table(base: Sequence[float], tuned: Sequence[float]) -> RewardTable:
    """Counts of items by whose reward is higher; those where one is NaN are left out."""
    signs = [
        (new > old) - (new < old)
        for old, new in zip(base, tuned, strict=True)
        if not (math.isnan(old) or math.isnan(new))
    ]
    return RewardTable(
        higher_base=signs.count(-1), higher_tuned=signs.count(1), equal=signs.count(0)
    )


def error_table(base: Sequence[float], tuned: Sequence[float]) -> ErrorTable:
    """Counts of items by whose error is smaller."""
    found = reward_table(tuned, base)  # the smaller error is the better one
    return ErrorTable(
        nearer_base=found.higher_base, nearer_tuned=found.higher_tuned, equal=found.equal
    )


def compare_answers(
    base: Sequence[Answer],
    tuned: Sequence[Answer],
    *,
    labels: Sequence[str] = LABELS,
    seed: int,
    rounds: int,
) -> PairedComparison:
    """The paired table, its p value and the differences with their bootstrap intervals.

    Args:
        base: answers of the base model.
        tuned: answers of the tuned model to the same items in the same order and mode.
        labels: the classes of macro-F1; () for numbers, and for open questions, which need a total
            reward.
        seed: of the bootstrap.
        rounds: resamples of the bootstrap.

    Raises:
        ValueError: the two do not answer the same items, or by different numbers of draws.
    """
    gold = [answer.gold for answer in base]
    if gold != [answer.gold for answer in tuned]:
        raise ValueError("compare_answers: base and tuned do not answer the same items")
    if len({answer.num_draws for answer in (*base, *tuned)}) > 1:
        raise ValueError("compare_answers: base and tuned have different numbers of draws")
    statistics = _gains(base, tuned, labels)
    table: PairedTable | RewardTable | ErrorTable
    numbers = [[answer.number for answer in side if answer.number] for side in (base, tuned)]
    if labels:
        table = paired_table([a.right for a in base], [a.right for a in tuned])
        p_value = mcnemar_exact(table.only_base, table.only_tuned)
    elif gold and len(numbers[0]) == len(numbers[1]) == len(gold):
        table = error_table(*([number.error for number in side] for side in numbers))
        p_value = mcnemar_exact(table.nearer_base, table.nearer_tuned)
    else:
        totals = [[_reward("total", answer) for answer in side] for side in (base, tuned)]
        table = reward_table(*totals)
        p_value = mcnemar_exact(table.higher_base, table.higher_tuned)
    return PairedComparison(
        table=table,
        p_value=p_value,
        differences={
            name: estimate(statistic, size=len(gold), seed=seed, rounds=rounds)
            for name, statistic in statistics.items()
        },
    )


def _reward(part: str, answer: Answer) -> float:
    return answer.rewards.get(part, math.nan)


def _pass_at(k: int, answer: Answer) -> float:
    return pass_at_k(answer.num_draws, answer.num_right, k)


def _gains(
    base: Sequence[Answer], tuned: Sequence[Answer], labels: Sequence[str]
) -> dict[str, IndexStatistic]:
    """The statistics of `PairedComparison.differences`."""

    def of(value: Callable[[Answer], float]) -> list[float]:
        # The difference of two means over the same items is the mean difference; NaN drops out.
        return [float(value(n)) - float(value(o)) for o, n in zip(base, tuned, strict=True)]

    gains: dict[str, IndexStatistic] = {}
    if labels:
        gains["accuracy"] = mean_statistic(of(lambda answer: answer.right))
        gains["accuracy_lenient"] = mean_statistic(of(lambda a: a.agrees(a.lenient)))
        gains["macro_f1"] = _macro_f1_gain(base, tuned, labels)
    gains["parse_strict"] = mean_statistic(of(lambda answer: answer.strict is not None))
    measured = {
        "tokens": of(lambda answer: answer.tokens),
        "truncated": of(lambda a: math.nan if math.isnan(a.tokens) else a.truncated),
        "grounding": of(lambda answer: answer.grounding),
    }
    draws = base[0].num_draws if base else 0
    if draws:
        measured["parse_draws"] = of(lambda answer: answer.num_parsed / draws)
    for k in pass_counts(draws if labels else 0):
        measured[f"pass@{k}"] = of(partial(_pass_at, k))
    for part in dict.fromkeys(part for answer in (*base, *tuned) for part in answer.rewards):
        measured[f"reward_{part}"] = of(partial(_reward, part))
    known = {name: values for name, values in measured.items() if not all(map(math.isnan, values))}
    gains |= {name: mean_statistic(values) for name, values in known.items()}
    old, new = task_statistics(base), task_statistics(tuned)
    return gains | {name: _difference(new[name], old[name]) for name in old if name in new}


def _difference(new: IndexStatistic, old: IndexStatistic) -> IndexStatistic:
    return lambda index: new(index) - old(index)


def _macro_f1_gain(
    base: Sequence[Answer], tuned: Sequence[Answer], labels: Sequence[str]
) -> IndexStatistic:
    gold = [str(answer.gold) for answer in base]
    old = f1_statistic(gold, [answer.strict for answer in base], labels)
    return _difference(f1_statistic(gold, [a.strict for a in tuned], labels), old)
