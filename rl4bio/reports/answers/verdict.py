"""What an evaluation found, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.reports.answers.paired_words import p_text
from rl4bio.reports.answers.table import ResultRow
from rl4bio.reports.html.ticks import number_text
from rl4bio.statistics.compare import ErrorTable, PairedComparison, PairedTable, RewardTable

CHANCE = 0.05
"""p above which a difference may well be chance."""


def verdict(
    rows: Sequence[ResultRow], comparisons: Mapping[str, PairedComparison], before: str = "base"
) -> str:
    """The sentence, of the main mode.

    Args:
        rows: the metric table, the main mode first.
        comparisons: mode -> `before` against tuned; {} where one model ran.
        before: what training began with.
    """
    mode = rows[0].mode
    found = {row.model: row for row in rows if row.mode == mode}
    compared = comparisons.get(mode)
    constant = [row for row in rows if row.mode == "constant" and _right(row) is not None]
    behind = "".join(f"; {row.model} in {_right(row)}" for row in constant[:1])
    if compared is None or "tuned" not in found or before not in found:
        right = _right(rows[0])
        if right is None:
            return f"{rows[0].model} answered {rows[0].metrics.num_items} items."
        return f"{rows[0].model} is right in {right} of {rows[0].metrics.num_items}{behind}."
    return f"{_difference(found[before], found['tuned'], compared, before)}{behind}."


def _difference(old: ResultRow, new: ResultRow, compared: PairedComparison, before: str) -> str:
    table, items = compared.table, new.metrics.num_items
    p = p_text(compared.p_value)
    if isinstance(table, RewardTable):
        first, second = table.higher_base, table.higher_tuned
        said = f"tuned has the higher reward in {second} of {items}, {before} in {first}"
    elif isinstance(table, ErrorTable):
        first, second = table.nearer_base, table.nearer_tuned
        said = f"tuned is nearer to the label in {second} of {items}, {before} in {first}"
    else:
        first, second = table.only_base, table.only_tuned
        said = f"tuned is right in {_right(new)} of {items}, {before} in {_right(old)}"
    if first == second:
        return f"{said}: no difference"
    if compared.p_value > CHANCE:
        return f"{said}; the difference may be chance, {p}"
    better = second > first
    moved = _mix_alone(compared, better=better) if isinstance(table, PairedTable) else ""
    return f"{said}; {'better' if better else 'worse'} than chance explains, {p}{moved}"


def _mix_alone(compared: PairedComparison, *, better: bool) -> str:
    """Said where the labels on average go the other way: "" unless all of an interval does."""
    names = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}
    key = next((key for key in names if key in compared.differences), None)
    if key is None:
        return ""
    change = compared.differences[key]
    if not (change.high < 0 if better else change.low > 0):
        return ""
    way, size = "falls" if better else "rises", number_text(round(100 * abs(change.value), 1))
    return f", but {names[key]} {way} by {size} points: the mix of answers has moved"


def _right(row: ResultRow) -> str | None:
    """Items that are answered right; of several draws the mean may be no whole number."""
    value = row.metrics.accuracy.value * row.metrics.num_items
    return None if math.isnan(value) else number_text(round(value, 1))
