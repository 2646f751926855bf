"""The table of molecule summaries: metrics down, models across, in the terminal and in the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rl4bio.chem.acceptance import RULES
from rl4bio.reports.answers.estimates import MISSING, number_interval, percent, percent_interval
from rl4bio.statistics.bootstrap import Estimate
from rl4bio.statistics.molecules import HIGH_QED, MoleculeSummary
from rl4bio.statistics.quantities import quantity_titles

SCREEN = 30
"""Rows of the table that stand in a terminal: with the verdict around it, at most 40 lines."""
PROPERTY_TITLES = {
    "qed": ("QED", ""),
    "logp": ("logP", ""),
    "sa": ("SA", ""),
    "tpsa": ("TPSA", "Å²"),
    "molecular_weight": ("Molecular weight", "g/mol"),
}
"""Property -> how it is called, and its unit."""
NOTE = (
    "Validity: share of texts that are a SMILES of a molecule. Unique: distinct molecules over "
    "valid ones. Novel: share of the distinct ones that the reference does not hold. IntDiv: 1 - "
    "mean pairwise Tanimoto similarity (ECFP4, 1,024 bits). SNN: mean similarity to the nearest "
    "molecule of a fixed subset of at most 2,000 of the reference. SA: 1 easy to 10 hard to make. "
    "Properties are means over valid molecules. Quantities of rewards: means over distinct valid "
    "molecules, of a prediction over those inside the domain of its predictor. Hits: distinct "
    "molecules that reach every goal, inside the domain, over all texts. Refused: share of the "
    "valid ones that break a rule of what a chemist accepts (docs/molgpt.md). Brackets: 95% "
    "bootstrap intervals over molecules."
)


def molecule_cells(summaries: Mapping[str, MoleculeSummary]) -> list[list[str]]:
    """The cells: a header with the models, then a row a metric, its name first.

    A metric that no model has is left out.
    """
    columns = list(summaries.values())
    parts = list(dict.fromkeys(part for summary in columns for part in summary.rewards))
    rows = [
        ["molecules", *(f"{s.num_molecules:,}" for s in columns)],
        ["valid %", *(percent_interval(s.validity) for s in columns)],
        ["unique %", *(percent(s.unique) for s in columns)],
        ["novel %", *(percent_interval(s.novelty) for s in columns)],
        ["IntDiv", *(_number(s.internal_diversity) for s in columns)],
        ["SNN", *(_number(s.snn) for s in columns)],
        ["scaffolds / molecule", *(_number(s.scaffold_diversity) for s in columns)],
        *_refused_rows(columns),
        ["reward, invalid = 0", *(number_interval(s.reward_all) for s in columns)],
        ["reward, valid only", *(number_interval(s.reward_valid) for s in columns)],
    ]
    for part in parts:
        values = (s.rewards.get(part) for s in columns)
        rows.append(
            [f"reward {part}", *(MISSING if v is None else number_interval(v) for v in values)]
        )
    rows += _quantity_rows(columns)
    for name, (title, unit) in PROPERTY_TITLES.items():
        label = f"{title} ({unit})" if unit else title
        rows.append([label, *(_property(s.properties[name]) for s in columns)])
    rows.append([f"QED > {HIGH_QED:g} %", *(percent_interval(s.high_qed) for s in columns)])
    rows.append(["hits %", *(percent_interval(s.hits) for s in columns)])
    known = [row for row in rows if any(cell != MISSING for cell in row[1:])]
    return [["", *summaries], *known]


def _refused_rows(columns: Sequence[MoleculeSummary]) -> list[list[str]]:
    """What a chemist would refuse, by rule."""
    names = [name for name in ("any", *RULES) if any(name in s.refused for s in columns)]
    zero = Estimate(value=0.0, low=0.0, high=0.0)
    return [
        [
            "refused %" if name == "any" else f"refused for {name} %",
            *(percent_interval(s.refused.get(name, zero)) for s in columns),
        ]
        for name in names
    ]


def _quantity_rows(columns: Sequence[MoleculeSummary]) -> list[list[str]]:
    """What the rewards were made from, but for the properties that have their own rows."""
    names = list(dict.fromkeys(name for summary in columns for name in summary.raw))
    shown = {title for title, _ in PROPERTY_TITLES.values()}
    rows = []
    for column, title in quantity_titles([f"raw_{name}" for name in names]).items():
        name = column.removeprefix("raw_")
        if title in shown:
            continue
        means = [s.raw.get(name) for s in columns]
        shares = [s.inside.get(name) for s in columns]
        if any(shares):
            inside = (MISSING if v is None else percent_interval(v) for v in shares)
            rows.append([f"inside the domain, {title} %", *inside])
            title += ", inside"
        rows.append([title, *(MISSING if v is None else _property(v) for v in means)])
    return rows


def plain_molecule_table(summaries: Mapping[str, MoleculeSummary], *, full: bool = True) -> str:
    """The table for a terminal; unless it is `full`, without the single rules, and one screen."""
    rows = molecule_cells(summaries)
    kept = rows if full else [row for row in rows if not row[0].startswith("refused for ")][:SCREEN]
    left_out, rows = len(rows) - len(kept), kept
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "-" * max(len(line) for line in lines)
    notes = ["Brackets: 95% bootstrap intervals."]
    notes += [f"{left_out} more rows: --full, or the page."] if left_out else []
    return "\n".join([lines[0], rule, *lines[1:], rule, *notes])


def _number(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.3f}"


def _property(value: Estimate) -> str:
    """A mean with its interval; one decimal for large values such as weights."""
    if math.isnan(value.value) or abs(value.value) < 10:
        return number_interval(value)
    return f"{value.value:.1f} [{value.low:.1f}, {value.high:.1f}]"
