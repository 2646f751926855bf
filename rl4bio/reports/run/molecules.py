"""The molecules of a training run: best and random ones of its first and last step, the trade-off
between its objectives, and the top."""

from __future__ import annotations

import csv
import heapq
import math
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rl4bio.chem.acceptance import broken_rules
from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import StorageError
from rl4bio.reports.html.page import html_table, text
from rl4bio.reports.html.pareto_chart import pareto_section
from rl4bio.reports.html.structures import molecule_grid
from rl4bio.reports.molecules.front import front_grid
from rl4bio.statistics.quantities import (
    quantity_columns,
    quantity_titles,
    score_columns,
    tradeoff,
)

DRAWN = 10
"""Molecules in each of a step's two grids."""
LISTED = 50
"""Molecules in the top table."""

MoleculeRow = dict[str, str]
"""One line of molecules.csv."""


@dataclass(slots=True)
class RunMolecules:
    """What the report shows of a molecules.csv."""

    first: list[MoleculeRow] = field(default_factory=list)
    """Rows of the first recorded step."""
    last: list[MoleculeRow] = field(default_factory=list)
    """Rows of the last one; empty where it is the first."""
    top: list[MoleculeRow] = field(default_factory=list)
    """The best different molecules of all steps, by total reward, ties by time."""
    num_rows: int = 0
    distinct: dict[str, str] = field(default_factory=dict)
    """Each different molecule of all steps -> the step that wrote it first."""
    numbers: dict[str, array[float]] = field(default_factory=dict)
    """Column -> its number for each of them, NaN where the cell is empty: the raw values, and the
    scores of those that have one."""


def read_run_molecules(path: Path) -> RunMolecules:
    """One pass over the file, which may be large.

    Raises:
        StorageError: the file cannot be read, or is not what a run writes.
    """
    found = RunMolecules()

    def fresh() -> Iterator[MoleculeRow]:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                if not found.num_rows:
                    kept = {*quantity_columns(row), *score_columns(row).values()}
                    found.numbers = {column: array("d") for column in row if column in kept}
                found.num_rows += 1
                if not found.first or row["step"] == found.first[0]["step"]:
                    found.first.append(row)
                elif found.last and row["step"] == found.last[0]["step"]:
                    found.last.append(row)
                else:
                    found.last = [row]
                if row["canonical"] and row["canonical"] not in found.distinct:
                    found.distinct[row["canonical"]] = row["step"]
                    for column, numbers in found.numbers.items():
                        numbers.append(float(row[column] or math.nan))
                    yield row

    try:
        found.top = heapq.nlargest(LISTED, fresh(), key=_total)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StorageError(
            f"{path}: cannot be read ({error!r}); remove the file, then finish the run with "
            "--resume"
        ) from error
    return found


def molecule_sections(found: RunMolecules) -> list[str]:
    """Grids of the first and of the last step, the trade-off, and the top, as HTML."""
    if not found.first:
        return ['<p class="note">No molecules were recorded.</p>']
    titles = quantity_titles(quantity_columns(found.first[0]))
    return [
        *(_step_section(rows, titles) for rows in (found.first, found.last) if rows),
        *_tradeoff_section(found, titles),
        f"<h3>The best {len(found.top)} of {len(found.distinct):,} different molecules in "
        f"{found.num_rows:,} recorded completions</h3>{_grid(found.top[:DRAWN], titles)}",
        _top_table(found, titles),
    ]


def _tradeoff_section(found: RunMolecules, titles: Mapping[str, str]) -> list[str]:
    """The picture of two objectives; nothing where the run has not two of them."""
    pair = tradeoff(found.numbers)
    if pair is None:
        return []
    smiles = list(found.distinct)
    sets = {}
    for rows in (found.first, found.last):
        if rows:
            members = {row["canonical"] for row in rows}
            sets[f"step {rows[0]['step']}"] = np.array([one in members for one in smiles])
    others = {
        title: [_shown_number(value) for value in found.numbers[column]]
        for column, title in titles.items()
        if column not in [objective.column for objective in pair.objectives]
    }
    listed = {"step": list(found.distinct.values()), **others}
    return [
        pareto_section(
            pair,
            sets,
            smiles=smiles,
            listed=listed,
            rest="other steps",
            structures=front_grid(pair, smiles),
        )
    ]


def _top_table(found: RunMolecules, titles: Mapping[str, str]) -> str:
    rewards = [c for c in found.first[0] if c.startswith("reward_")]
    # A reward that is its own raw value, as QED, is shown once.
    raw = {c: title for c, title in titles.items() if _differs(found.top, c)}
    numbers = ["total", *rewards, *raw, "logprob_policy", "logprob_prior"]
    cells = [
        [
            str(rank),
            row["step"],
            row["canonical"],
            *(_shown(row.get(column, "")) for column in numbers),
        ]
        for rank, row in enumerate(found.top, start=1)
    ]
    parts = [column.removeprefix("reward_") for column in rewards]
    header = ["", "step", "SMILES", "reward", *parts, *raw.values()]
    return html_table([[*header, "log p, policy", "log p, prior"], *cells], sortable=True)


def _differs(rows: Sequence[MoleculeRow], column: str) -> bool:
    """Whether a raw value says something that the reward of the same name does not."""
    same = column.replace("raw_", "reward_", 1)
    return any(row[column] != row.get(same) for row in rows if row[column])


def _step_section(rows: Sequence[MoleculeRow], titles: Mapping[str, str]) -> str:
    step = rows[0]["step"]
    valid = [row for row in rows if row["canonical"]]
    states = [row["state"] for row in rows]
    counts = ", ".join(
        f"{states.count(state)} {state}"
        for state in ("valid", "duplicate", "seen", "invalid")
        if state in states
    )
    heading = f"<h3>Step {text(step)}: {len(rows)} completions ({text(counts)})</h3>"
    if not valid:
        return f'{heading}<p class="note">None of them is a molecule.</p>'
    best, drawn = grid_rows(rows)
    return (
        f'{heading}<p class="note">The best</p>{_grid(best, titles)}'
        f'<p class="note">At random</p>{_grid(drawn, titles)}'
    )


def grid_rows(rows: Sequence[MoleculeRow]) -> tuple[list[MoleculeRow], list[MoleculeRow]]:
    """Of a step the best different molecules, and some at random of the valid ones."""
    valid = [row for row in rows if row["canonical"]]
    if not valid:
        return [], []
    distinct = {row["canonical"]: row for row in reversed(valid)}.values()
    best = heapq.nlargest(DRAWN, list(distinct)[::-1], key=_total)
    drawn = random.Random(f"drawn/{rows[0]['step']}").sample(valid, min(DRAWN, len(valid)))
    return best, drawn


def _grid(rows: Sequence[MoleculeRow], titles: Mapping[str, str]) -> str:
    # A canonical SMILES of an RDKit that differs from this one may not read.
    pairs = [(m, row) for row in rows if (m := read_smiles(row["canonical"])).valid]
    return molecule_grid([m for m, _ in pairs], [_caption(m, row, titles) for m, row in pairs])


def _caption(molecule: Molecule, row: MoleculeRow, titles: Mapping[str, str]) -> str:
    """The reward, QED and SA, what else was optimised, and which rules of a design it breaks."""
    facts = [f"reward {_shown(row['total'])}"]
    facts += [f"QED {PROPERTIES['qed'](molecule):.2f}", f"SA {PROPERTIES['sa'](molecule):.1f}"]
    shown = {title: _shown(row[c]) for c, title in titles.items() if c in score_columns(row)}
    facts += [f"{title} {value}" for title, value in shown.items() if title not in ("QED", "SA")]
    broken = broken_rules(molecule)
    facts += [f"refused for {', '.join(broken)}"] if broken else []
    return " · ".join(facts)


def _total(row: MoleculeRow) -> float:
    """The total reward; what could not be scored comes last."""
    return float(row["total"]) if row["total"] else -math.inf


def _shown(cell: str) -> str:
    return _shown_number(float(cell or math.nan))


def _shown_number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
