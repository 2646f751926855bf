"""The metric table: one row a model and mode, the same columns in the terminal and in the report.

A mode is how a verdict was obtained. Rows of different modes are different measurements.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rl4bio.reports.answers.estimates import (
    MISSING,
    MORE,
    number_interval,
    percent,
    percent_interval,
)
from rl4bio.reports.answers.paired_words import paired_notes, reasoning_line
from rl4bio.statistics.answers import AnswerMetrics
from rl4bio.statistics.compare import PairedComparison

WIDTH = 100
"""Characters of a line in the terminal."""
SCREEN = 34
"""Lines of the short table; the rest of it is in the page, and behind `--full`."""
NAME_WIDTH = 22
"""Of a model or mode in the terminal; longer ones take several lines."""
MODES_DIFFER = (
    "Compare models within one mode only: a generated and a log-probability answer, or answers to "
    "different prompts, are different measurements."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """One model in one mode."""

    model: str
    """base, start, tuned, or the constant answer."""
    mode: str
    metrics: AnswerMetrics


def table_cells(rows: Sequence[ResultRow]) -> tuple[list[str], list[list[str]]]:
    """Header and body of the metric table, as text; a metric that no row has is left out.

    Returns:
        The header, and one list of cells a row, as long as the header.
    """
    columns = {"model": [row.model for row in rows], "mode": [row.mode for row in rows]}
    for name, cell in _metrics(rows).items():
        cells = [cell(row.metrics) for row in rows]
        if any(text != MISSING for text in cells):
            columns[name] = cells
    return list(columns), [list(cells) for cells in zip(*columns.values(), strict=True)]


def _metrics(rows: Sequence[ResultRow]) -> dict[str, Callable[[AnswerMetrics], str]]:
    """Name of each metric, and its text."""
    classes = dict.fromkeys(label for row in rows for label in row.metrics.class_f1)
    mixes = [row.metrics.label_mix for row in rows]
    none = [key for mix in mixes for key in list(mix)[-1:]][:1]
    mix = [*dict.fromkeys(key for mix in mixes for key in list(mix)[:-1]), *none]
    passes = sorted({k for row in rows for k in row.metrics.pass_at})
    parts = dict.fromkeys(part for row in rows for part in row.metrics.rewards)
    cells: dict[str, Callable[[AnswerMetrics], str]] = {
        "items": lambda m: str(m.num_items),
        "accuracy %": lambda m: percent_interval(m.accuracy),
    }
    for k in passes:
        cells[f"pass@{k} %"] = partial(_pass_at, k)
    more = dict.fromkeys(name for row in rows for name in row.metrics.more)
    for name in MORE:
        if name in more:
            cells[MORE[name]] = partial(_more, name)
    cells["macro-F1 %"] = lambda m: percent_interval(m.macro_f1)
    for label in classes:
        cells[f"F1 {label}"] = partial(_class_f1, label)
    cells |= {
        "parsed %": lambda m: percent_interval(m.parse_strict),
        "parsed draws %": lambda m: percent_interval(m.parse_draws),
        "parsed leniently %": lambda m: percent_interval(m.parse_lenient),
        "accuracy if parsed %": lambda m: percent_interval(m.accuracy_given_parse),
        "accuracy lenient %": lambda m: percent_interval(m.accuracy_lenient),
        f"predicted {'/'.join(mix)} %": lambda m: _mix(m.label_mix, mix),
        "tokens": lambda m: MISSING if math.isnan(v := m.tokens_mean.value) else f"{v:.0f}",
        "truncated %": lambda m: percent(m.truncated_fraction),
    }
    if "grounding" not in parts:
        cells["grounding"] = lambda m: number_interval(m.grounding)
    for part in parts:
        cells[f"reward {part}"] = partial(_reward, part)
    return cells


def _pass_at(k: int, metrics: AnswerMetrics) -> str:
    return percent_interval(metrics.pass_at[k]) if k in metrics.pass_at else MISSING


def _class_f1(label: str, metrics: AnswerMetrics) -> str:
    return percent(metrics.class_f1[label].value) if label in metrics.class_f1 else MISSING


def _more(name: str, metrics: AnswerMetrics) -> str:
    if name not in metrics.more:
        return MISSING
    found = metrics.more[name]
    return percent_interval(found) if "%" in MORE[name] else number_interval(found)


def _reward(part: str, metrics: AnswerMetrics) -> str:
    return number_interval(metrics.rewards[part]) if part in metrics.rewards else MISSING


def _mix(mix: Mapping[str, float], keys: Sequence[str]) -> str:
    return "/".join(f"{100 * mix.get(key, 0):.0f}" for key in keys) if mix else MISSING


def plain_table(
    rows: Sequence[ResultRow],
    comparisons: Mapping[str, PairedComparison] | None = None,
    reasoning: Mapping[str, PairedComparison] | None = None,
    *,
    before: str = "base",
    from_base: Mapping[str, PairedComparison] | None = None,
) -> str:
    """The table for a terminal: metrics down, models across, intervals of 95% in brackets.

    No line is wider than 100 characters as long as names are not; columns that do not fit beside
    the others follow below.

    Args:
        rows: one model and mode each.
        comparisons: mode -> `before` against tuned, the main mode first; nothing where one ran.
        reasoning: model and mode -> answers without reasoning against those with it.
        before: what training began with.
        from_base: mode -> base against tuned, where training did not begin with the base.
    """
    header, body = table_cells(rows)
    first, *columns = [_lines(cells) for cells in (header, *body)]
    lines: list[str] = []
    block = [first]
    for _, same_mode in itertools.groupby(columns, key=lambda column: column[1]):
        group = list(same_mode)  # base and tuned, which a reader compares
        if _total_width([first, *group]) > WIDTH:
            lines += [line for column in (*block[1:], *group) for line in _block([first, column])]
            block = [first]
            continue
        if _total_width([*block, *group]) > WIDTH:
            lines += _block(block)
            block = [first]
        block += group
    lines += _block(block) if len(block) > 1 else []
    notes = ["Brackets: 95% bootstrap intervals over items.", MODES_DIFFER]
    notes += paired_notes(comparisons or {}, from_base or {}, before)
    notes += [reasoning_line(found, model) for model, found in (reasoning or {}).items()]
    for note in notes:
        lines += textwrap.wrap(note, WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def short_table(rows: Sequence[ResultRow]) -> str:
    """The main mode and the constant answers alone, in a screen of a terminal."""
    mode = rows[0].mode
    own = [row for row in rows if row.mode in (mode, "constant")]
    lines = plain_table(own).splitlines()
    lines = lines[: next(n for n, line in enumerate(lines) if line.startswith("Brackets:")) + 1]
    if len(lines) > SCREEN:
        lines = [*lines[: SCREEN - 1], lines[-1]]
    return "\n".join(lines)


def _lines(cells: Sequence[str]) -> list[list[str]]:
    """The lines of each cell of a column: one, but for a long model or mode."""
    wrap = textwrap.TextWrapper(width=NAME_WIDTH, break_on_hyphens=False)
    names = [wrap.wrap(cell) or [""] for cell in cells[:2]]
    return [*names, *([cell] for cell in cells[2:])]


def _width(column: Sequence[Sequence[str]]) -> int:
    return max(len(line) for lines in column for line in lines)


def _total_width(columns: Sequence[Sequence[Sequence[str]]]) -> int:
    return sum(_width(column) + 2 for column in columns) - 2


def _block(columns: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Columns beside each other, a rule below model and mode; without metrics that none has."""
    widths = [_width(column) for column in columns]
    lines: list[str] = []
    for position, cells in enumerate(zip(*columns, strict=True)):
        if all(cell == [MISSING] for cell in cells[1:]):
            continue
        if position == 2:
            lines.append("-" * _total_width(columns))
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
    return [*lines, ""]
