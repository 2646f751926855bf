"""Measured affinities from a table: one value per molecule on the scale -log10 mol/l."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.fragments import largest_fragment
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.tables import Table, read_table
from rl4bio.errors import DataError
from rl4bio.predictors.units import MOLAR, Unit
from rl4bio.text.redaction import shown

BOUNDS = (-2.0, 20.0)
"""Of a value that can be an affinity; a column of nM read as p values is far outside."""
SHOWN_PROBLEMS = 3


@dataclass(slots=True, kw_only=True)
class Measured:
    """The molecules of a table, each once."""

    molecules: list[Molecule]
    """In one piece."""
    values: NDArray[np.float64]
    """[N] -log10 of mol/l."""
    rows: int
    """Of the table."""
    dropped: int
    """Rows that could not be read and were left out as asked."""
    repeats: int
    """Rows of a molecule that had one already, after salts lost their counter-ions."""
    largest_gap: float
    """Largest difference between the values of one molecule, which are averaged."""


def read_measured(
    path: Path, label: str, *, smiles: str | None = None, unit: Unit = "p", drop_bad: bool = False
) -> Measured:
    """The measured molecules of a csv.

    Of a salt or mixture the largest fragment is kept; rows of one molecule (by canonical SMILES,
    stereochemistry included) become one with their mean.

    Args:
        path: of a kind that rl4bio/chem/tables.py reads.
        label: column of the values.
        smiles: column of the molecules; None is `smiles`, or the only one like it.
        unit: p where the values are pIC50, pKd or pKi; else that of a concentration.
        drop_bad: leave out rows that cannot be read, instead of refusing the file.

    Raises:
        DataError: the file, a column or (without drop_bad) a row cannot be used; names the line.
    """
    table = read_table(path, option="--data")
    places = (table.smiles_index(smiles, option="--smiles"), table.index(label, option="--label"))
    found: dict[str, tuple[Molecule, list[float]]] = {}
    problems: list[str] = []
    for row, cells in enumerate(table.rows):
        try:
            molecule = _molecule(cells[places[0]].strip(), table, row)
            value = _value(cells[places[1]].strip(), unit, label, table, row)
        except DataError as error:
            problems.append(str(error))
            continue
        found.setdefault(molecule.canonical, (molecule, []))[1].append(value)
    if problems and (not drop_bad or not found):
        more = len(problems) - SHOWN_PROBLEMS
        raise DataError(
            "; ".join(problems[:SHOWN_PROBLEMS])
            + (f"; and {more} more" if more > 0 else "")
            + "; repair them, or leave such rows out with --drop-bad"
        )
    values = [one for _, one in found.values()]
    return Measured(
        molecules=[molecule for molecule, _ in found.values()],
        values=np.array([math.fsum(one) / len(one) for one in values]),
        rows=len(table.rows),
        dropped=len(problems),
        repeats=sum(len(one) - 1 for one in values),
        largest_gap=max((max(one) - min(one) for one in values), default=0.0),
    )


def _molecule(text: str, table: Table, row: int) -> Molecule:
    molecule = read_smiles(text)
    if not molecule.valid:
        raise DataError(f"{table.place(row)}: {shown(text)} is no SMILES ({molecule.reason})")
    return largest_fragment(molecule)


def _value(text: str, unit: Unit, label: str, table: Table, row: int) -> float:
    try:
        number = float(text)
    except ValueError:
        raise DataError(f"{table.place(row)}: {label} is {shown(text)}, no number") from None
    if unit != "p":
        if not (math.isfinite(number) and number > 0):
            raise DataError(f"{table.place(row)}: {label} is {text}, needs a {unit} above 0")
        number = MOLAR[unit] - math.log10(number)
    if not BOUNDS[0] <= number <= BOUNDS[1]:
        raise DataError(
            f"{table.place(row)}: {label} is {text}, on the scale -log10 mol/l that is outside "
            f"{BOUNDS[0]:g} to {BOUNDS[1]:g}; is --unit {unit} right"
        )
    return number
