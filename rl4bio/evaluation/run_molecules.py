"""The molecules of a training run: best and random ones of its first and last step, and the top."""

from __future__ import annotations

import csv
import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl4bio.chem.properties import PROPERTIES
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import StorageError
from rl4bio.evaluation.drawings import molecule_grid
from rl4bio.evaluation.molecule_report import html_table
from rl4bio.evaluation.page import text

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
    num_distinct: int = 0
    """Different molecules of all steps."""


def read_run_molecules(path: Path) -> RunMolecules:
    """One pass over the file, which may be large.

    Raises:
        StorageError: the file cannot be read, or is not what a run writes.
    """
    found = RunMolecules()
    seen: set[str] = set()

    def fresh() -> Iterator[MoleculeRow]:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, strict=True):
                found.num_rows += 1
                if not found.first or row["step"] == found.first[0]["step"]:
                    found.first.append(row)
                elif found.last and row["step"] == found.last[0]["step"]:
                    found.last.append(row)
                else:
                    found.last = [row]
                if row["canonical"] and row["canonical"] not in seen:
                    seen.add(row["canonical"])
                    yield row

    try:
        found.top = heapq.nlargest(LISTED, fresh(), key=_total)
        found.num_distinct = len(seen)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise StorageError(
            f"{path}: cannot be read ({error!r}); remove the file, then finish the run with "
            "--resume"
        ) from error
    return found


def molecule_sections(path: Path) -> list[str]:
    """Grids of the first and of the last step, and the top table, as HTML."""
    found = read_run_molecules(path)
    if not found.first:
        return ['<p class="note">No molecules were recorded.</p>']
    sections = [_step_section(rows) for rows in (found.first, found.last) if rows]
    parts = [c.removeprefix("reward_") for c in found.first[0] if c.startswith("reward_")]
    cells = [
        [
            str(rank),
            row["step"],
            row["canonical"],
            *(_shown(row[column]) for column in ("total", *(f"reward_{part}" for part in parts))),
            *(_shown(row.get(column, "")) for column in ("logprob_policy", "logprob_prior")),
        ]
        for rank, row in enumerate(found.top, start=1)
    ]
    header = ["", "step", "SMILES", "reward", *parts, "log p, policy", "log p, prior"]
    return [
        *sections,
        f"<h3>The best {len(cells)} of {found.num_distinct:,} different molecules in "
        f"{found.num_rows:,} recorded completions</h3>",
        html_table([header, *cells]),
    ]


def _step_section(rows: Sequence[MoleculeRow]) -> str:
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
    distinct = {row["canonical"]: row for row in reversed(valid)}.values()
    best = heapq.nlargest(DRAWN, list(distinct)[::-1], key=_total)
    drawn = random.Random(f"drawn/{step}").sample(valid, min(DRAWN, len(valid)))
    return (
        f'{heading}<p class="note">The best</p>{_grid(best)}<p class="note">At random</p>'
        f"{_grid(drawn)}"
    )


def _grid(rows: Sequence[MoleculeRow]) -> str:
    # A canonical SMILES of an RDKit that differs from this one may not read.
    pairs = [(m, row) for row in rows if (m := read_smiles(row["canonical"])).valid]
    captions = [
        f"reward {_shown(row['total'])} · QED {PROPERTIES['qed'](m):.2f} · "
        f"SA {PROPERTIES['sa'](m):.1f}"
        for m, row in pairs
    ]
    return molecule_grid([m for m, _ in pairs], captions)


def _total(row: MoleculeRow) -> float:
    """The total reward; what could not be scored comes last."""
    return float(row["total"]) if row["total"] else -math.inf


def _shown(cell: str) -> str:
    if not cell:
        return "–"
    value = float(cell)
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
