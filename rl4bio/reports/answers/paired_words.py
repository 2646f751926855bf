"""Two sets of answers to the same items, compared in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rl4bio.reports.answers.estimates import MORE, number_interval, percent_interval
from rl4bio.statistics.bootstrap import Estimate
from rl4bio.statistics.compare import ErrorTable, PairedComparison, RewardTable

BASE_AND_TUNED = ("base", "tuned")
WITHOUT_AND_WITH = ("without", "with")
"""The two sides of what reasoning adds."""


def p_text(p_value: float) -> str:
    """A p value for people: three decimals, or the bound below which it lies."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def paired_counts(comparison: PairedComparison, names: tuple[str, str] = BASE_AND_TUNED) -> str:
    """The paired table and its p value, in words."""
    table, (base, tuned) = comparison.table, names
    if isinstance(table, RewardTable):
        return (
            f"higher total reward: {base} {table.higher_base}, {tuned} {table.higher_tuned}, "
            f"equal {table.equal}; exact sign test {p_text(comparison.p_value)}"
        )
    if isinstance(table, ErrorTable):
        return (
            f"nearer to the label: {base} {table.nearer_base}, {tuned} {table.nearer_tuned}, "
            f"equal {table.equal}; exact sign test {p_text(comparison.p_value)}"
        )
    return (
        f"both right {table.both_right}, only {base} {table.only_base}, "
        f"only {tuned} {table.only_tuned}, both wrong {table.both_wrong}; "
        f"exact McNemar {p_text(comparison.p_value)}"
    )


def paired_notes(
    comparisons: Mapping[str, PairedComparison],
    from_base: Mapping[str, PairedComparison],
    before: str,
) -> list[str]:
    """Every comparison in words, the first one at length.

    Args:
        comparisons: mode -> `before` against tuned, the main mode first.
        from_base: mode -> base against tuned, where `before` is not the base.
        before: what training began with.
    """
    names = (before, "tuned")
    lines: list[str] = []
    for number, (mode, found) in enumerate(comparisons.items()):
        lines += [paired_brief(found, mode, names)] if number else paired_lines(found, mode, names)
    if from_base:
        lines.append("Base against tuned, which is more than the last training has changed:")
    return lines + [paired_brief(found, mode) for mode, found in from_base.items()]


def paired_lines(
    comparison: PairedComparison, mode: str, names: tuple[str, str] = BASE_AND_TUNED
) -> list[str]:
    """Base against tuned, in words."""
    first = f"{names[0].capitalize()} against {names[1]}, both by {mode}:"
    gains = comparison.differences.items()
    return [first, paired_counts(comparison, names)] + [_gain_text(n, g, names) for n, g in gains]


def reasoning_line(comparison: PairedComparison, model: str) -> str:
    """What reasoning adds to one model's answers in one mode, in one sentence."""
    names = WITHOUT_AND_WITH
    wanted = ("accuracy", "balanced_accuracy", "auroc", "mae", "spearman", "exact_set", "tanimoto")
    found = {n: g for n, g in comparison.differences.items() if not math.isnan(g.value)}
    gains = [_gain_text(n, g, names) for n, g in found.items() if n in wanted]
    return "; ".join(
        [f"what reasoning adds to {model}: {paired_counts(comparison, names)}", *gains]
    )


def _gain_text(name: str, gain: Estimate, names: tuple[str, str] = BASE_AND_TUNED) -> str:
    is_number = name.startswith("reward_") or name in ("tokens", "grounding")
    is_number = is_number or (name in MORE and "%" not in MORE[name])
    text = number_interval(gain) if is_number else f"{percent_interval(gain)} %"
    said = MORE[name].removesuffix(" %") if name in MORE else name.replace("_", " ")
    return f"{names[1]} minus {names[0]}, {said}: {text}"


def paired_brief(
    comparison: PairedComparison, mode: str, names: tuple[str, str] = BASE_AND_TUNED
) -> str:
    """Base against tuned in one sentence."""
    table = comparison.table
    main = "reward_total" if isinstance(table, RewardTable) else "accuracy"
    main = "mae" if isinstance(table, ErrorTable) else main
    found = comparison.differences
    gains = "".join(
        f"; {_gain_text(n, found[n], names)}" for n in (main, "auroc", "spearman") if n in found
    )
    return f"by {mode}: {paired_counts(comparison, names)}{gains}"
