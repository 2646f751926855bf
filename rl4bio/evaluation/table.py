"""The metric table: one row a model and mode, the same columns in the terminal and in the report.

A mode is how a verdict was obtained. Rows of different modes are different measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.evaluation.answers import LABELS, NO_ANSWER, AnswerMetrics, Estimate
from rl4bio.evaluation.compare import PairedComparison

MISSING = "–"
MODES_DIFFER = (
    "Compare models within one mode only: a generated and a log-probability answer, or answers to "
    "different prompts, are different measurements."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One model in one mode."""

    model: str
    """base, tuned, or the constant answer."""
    mode: str
    metrics: AnswerMetrics


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"


def percent_interval(estimate: Estimate) -> str:
    """A share with its interval, in percent."""
    if math.isnan(estimate.value):
        return MISSING
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def number_interval(estimate: Estimate) -> str:
    """A mean with its interval, in its own unit."""
    if math.isnan(estimate.value):
        return MISSING
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def p_text(p_value: float) -> str:
    """A p value for people: three decimals, or the bound below which it lies."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def table_cells(rows: Sequence[ResultRow]) -> tuple[list[str], list[list[str]]]:
    """Header and body of the metric table, as text.

    Returns:
        The header, and one list of cells a row, as long as the header.
    """
    parts = list(dict.fromkeys(part for row in rows for part in row.metrics.rewards))
    header = [
        "model",
        "mode",
        "items",
        "accuracy %",
        "macro-F1 %",
        *(f"F1 {label}" for label in LABELS),
        "parsed %",
        "parsed leniently %",
        "accuracy if parsed %",
        "accuracy lenient %",
        f"predicted {'/'.join((*LABELS, NO_ANSWER))} %",
        "tokens",
        "truncated %",
        *(f"reward {part}" for part in parts),
    ]
    return header, [_cells(row, parts) for row in rows]


def _cells(row: ResultRow, parts: Sequence[str]) -> list[str]:
    metrics = row.metrics
    tokens = metrics.tokens_mean.value
    return [
        row.model,
        row.mode,
        str(metrics.num_items),
        percent_interval(metrics.accuracy),
        percent_interval(metrics.macro_f1),
        *(percent(metrics.class_f1[label].value) for label in LABELS),
        percent_interval(metrics.parse_strict),
        percent_interval(metrics.parse_lenient),
        percent_interval(metrics.accuracy_given_parse),
        percent_interval(metrics.accuracy_lenient),
        "/".join(f"{100 * metrics.label_mix[key]:.0f}" for key in (*LABELS, NO_ANSWER)),
        MISSING if math.isnan(tokens) else f"{tokens:.0f}",
        percent(metrics.truncated_fraction),
        *(
            number_interval(metrics.rewards[part]) if part in metrics.rewards else MISSING
            for part in parts
        ),
    ]


def paired_lines(comparison: PairedComparison, mode: str) -> list[str]:
    """Base against tuned, in words."""
    table = comparison.table
    lines = [
        f"Base against tuned, both by {mode}:",
        f"both right {table.both_right}, only base {table.only_base}, "
        f"only tuned {table.only_tuned}, both wrong {table.both_wrong}; "
        f"exact McNemar {p_text(comparison.p_value)}",
    ]
    for name, gain in comparison.differences.items():
        text = number_interval(gain) if name == "reward_total" else f"{percent_interval(gain)} %"
        lines.append(f"tuned minus base, {name.replace('_', ' ')}: {text}")
    return lines


def plain_table(rows: Sequence[ResultRow], comparison: PairedComparison | None = None) -> str:
    """The table for a terminal: metrics down, models across, intervals of 95% in brackets.

    Args:
        rows: one model and mode each; `comparison` belongs to the mode of the first.
        comparison: base against tuned, or None where only one model ran.
    """
    header, body = table_cells(rows)
    columns = [header, *body]
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = []
    for position in range(len(header)):
        cells = [column[position] for column in columns]
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(line.rstrip())
    rule = "-" * max(len(line) for line in lines)
    lines[2:2] = [rule]
    lines += [rule, "Brackets: 95% bootstrap intervals over items. " + MODES_DIFFER]
    if comparison is not None:
        lines += paired_lines(comparison, rows[0].mode)
    return "\n".join(lines)
