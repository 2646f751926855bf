"""Measured affinities from a table: one value per molecule on the scale -log10 mol/l."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.identity import other_parts, parent_molecule, same_name
from rl4bio.chem.measurements import Measure, Unit, check_scale, find_measure, on_p_scale
from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.chem.tables import MISSING, Table, read_table
from rl4bio.errors import DataError
from rl4bio.text.redaction import shown

BOUNDS = (-2.0, 20.0)
"""Of a value that can be an affinity; a column of nM read as p values is far outside."""
PLAUSIBLE = (1.5, 12.5)
"""Of the median of a table of affinities."""
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
    """Largest difference between the values of one molecule, of which the median counts."""
    left_out: dict[str, int]
    """Reason -> rows that measure something else, or are only bounds."""
    mixtures: list[str]
    """Place and SMILES of rows with several parts that are no counter-ions."""
    disagreeing: int
    """Molecules that were left out since their values lie farther apart than the tolerance."""
    unit: str
    """Of the column: p where its values are taken as they are, else that of a concentration."""


def read_measured(
    path: Path,
    label: str,
    *,
    smiles: str | None = None,
    unit: Unit | None = None,
    types: Sequence[str] = (),
    tolerance: float | None = None,
    drop_bad: bool = False,
) -> Measured:
    """The measured molecules of a csv.

    Of a salt or mixture the parent is kept (`rl4bio.chem.identity`); rows of one parent,
    stereochemistry included, become one with their median. What columns of relation, unit, type and
    validity say is heeded (`rl4bio.chem.measurements`).

    Args:
        path: of a kind that rl4bio/chem/tables.py reads.
        label: column of the values.
        smiles: column of the molecules; None is `smiles`, or the only one like it.
        unit: p where the values are pIC50, pKd or pKi, else that of a concentration; of rows whose
            unit no column tells. None: as the label's name says, or p.
        types: of the measurements that are wanted.
        tolerance: molecules whose values lie farther apart are left out; None = none.
        drop_bad: leave out rows that cannot be read, instead of refusing the file.

    Raises:
        DataError: the file, a column or (without drop_bad) a row cannot be used; names the line.
    """
    table = read_table(path, option="--data")
    places = (table.smiles_index(smiles, option="--smiles"), table.index(label, option="--label"))
    rows = [dict(zip(table.names, cells, strict=True)) for cells in table.rows]
    measure = find_measure(table.names, rows, label, types=types, place=str(path), option="--type")
    check_scale(measure, unit, place=str(path), option="--unit")
    read = _read_rows(table, rows, places, label, measure, unit)
    told = unit or measure.unit_of_label() or measure.is_p or "unit" in measure.columns
    if not told and read.found:
        _check_plausible(read, label, str(path))
    if read.problems and (not drop_bad or not read.found):
        raise read.refusal()
    kept = read.within(math.inf if tolerance is None else tolerance)
    if not kept:
        disagree = f"{len(read.found)} molecules that disagree" if read.found else ""
        why = ", ".join(filter(None, [measure.described(), disagree]))
        raise DataError(f"{path}: nothing is left to learn from; left out: {why}")
    values = [one for _, one in kept]
    return Measured(
        molecules=[molecule for molecule, _ in kept],
        values=np.array([statistics.median(one) for one in values]),
        rows=len(table.rows),
        dropped=len(read.problems),
        repeats=sum(len(one) - 1 for one in values),
        largest_gap=max((max(one) - min(one) for one in values), default=0.0),
        left_out=dict(measure.left_out),
        mixtures=read.mixtures,
        disagreeing=len(read.found) - len(kept),
        unit=unit or measure.unit_of_label() or min(read.units),
    )


@dataclass(slots=True)
class _Read:
    """What the rows of a table have said so far."""

    found: dict[str, tuple[Molecule, list[float]]] = field(default_factory=dict)
    """Name of a molecule -> the first parent with it, and all values."""
    problems: list[str] = field(default_factory=list)
    mixtures: list[str] = field(default_factory=list)
    units: set[str] = field(default_factory=set)

    def add(self, whole: Molecule, value: float, place: str) -> None:
        if other_parts(whole):
            self.mixtures.append(f"{place} {shown(whole.text)}")
        molecule = parent_molecule(whole)
        self.found.setdefault(same_name(molecule), (molecule, []))[1].append(value)

    def within(self, limit: float) -> list[tuple[Molecule, list[float]]]:
        """The molecules whose values lie no farther apart."""
        return [pair for pair in self.found.values() if max(pair[1]) - min(pair[1]) <= limit]

    def refusal(self) -> DataError:
        """The first few problems, and what to do."""
        more = len(self.problems) - SHOWN_PROBLEMS
        return DataError(
            "; ".join(self.problems[:SHOWN_PROBLEMS])
            + (f"; and {more} more" if more > 0 else "")
            + "; repair them, or leave such rows out with --drop-bad"
        )


def _read_rows(
    table: Table,
    rows: Sequence[dict[str, str]],
    places: tuple[int, int],
    label: str,
    measure: Measure,
    unit: Unit | None,
) -> _Read:
    """What the rows that measure what is wanted say; the others are counted in `measure`.

    Args:
        table: of the file.
        rows: its cells by their columns' names.
        places: columns of the molecule and of the value.
        label: name of the latter.
        measure: what the columns beside it say.
        unit: of rows whose unit no column tells.
    """
    read = _Read()
    for row, cells in enumerate(table.rows):
        text = cells[places[1]].strip()
        own = measure.unit(rows[row], unit) if measure.wants(rows[row], text) else None
        if own is None:
            continue
        if cells[places[0]].strip().lower() in MISSING:
            measure.left_out["without a molecule"] += 1
            continue
        try:
            whole = _molecule(cells[places[0]].strip(), table, row)
            read.add(whole, _value(text, own, label, table, row), table.place(row))
        except DataError as error:
            read.problems.append(str(error))
            continue
        read.units.add(own)
    return read


def _check_plausible(read: _Read, label: str, place: str) -> None:
    """Raise a DataError where values of no stated unit are hardly -log10 of mol/l."""
    middle = statistics.median(value for _, values in read.found.values() for value in values)
    if not PLAUSIBLE[0] <= middle <= PLAUSIBLE[1]:
        raise DataError(
            f"{place}: the values of {label!r}, half of them up to {middle:g}, are hardly -log10 "
            "of mol/l; say with --unit what they are: M, nM, ..., or p"
        )


def _molecule(text: str, table: Table, row: int) -> Molecule:
    molecule = read_smiles(text)
    if not molecule.valid:
        raise DataError(f"{table.place(row)}: {shown(text)} is no SMILES ({molecule.reason})")
    return molecule


def _value(text: str, unit: str, label: str, table: Table, row: int) -> float:
    try:
        number = float(text)
    except ValueError:
        raise DataError(f"{table.place(row)}: {label} is {shown(text)}, no number") from None
    try:
        number = on_p_scale(number, unit)
    except ValueError as error:
        raise DataError(f"{table.place(row)}: {label} is {text}, {error}") from None
    if not BOUNDS[0] <= number <= BOUNDS[1]:
        raise DataError(
            f"{table.place(row)}: {label} is {text}, on the scale -log10 mol/l that is outside "
            f"{BOUNDS[0]:g} to {BOUNDS[1]:g}; is --unit {unit} right"
        )
    return number
