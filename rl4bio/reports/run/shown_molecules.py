"""The molecules that the page of a run shows, as files for the programs of chemists."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rl4bio.chem.reading import read_smiles
from rl4bio.chem.structure_file import write_sdf
from rl4bio.reports.html.page import local_link
from rl4bio.reports.run.molecules import MoleculeRow, RunMolecules, grid_rows, read_run_molecules
from rl4bio.storage import write_atomic

TABLE, STRUCTURES = "shown.csv", "shown.sdf"


def shown_rows(found: RunMolecules) -> list[MoleculeRow]:
    """The rows of molecules.csv of everything that is drawn or listed, each molecule once."""
    steps = [row for rows in (found.first, found.last) for own in grid_rows(rows) for row in own]
    rows = {row["canonical"]: row for row in reversed([*found.top, *steps])}
    return list(rows.values())[::-1]


def write_shown(folder: Path, molecules: Path) -> None:
    """Write shown.csv and shown.sdf, which carries the columns of the table.

    Args:
        folder: of the page.
        molecules: the run's molecules.csv.

    Raises:
        StorageError: a file cannot be read or written.
    """
    rows = shown_rows(read_run_molecules(molecules))
    if not rows:
        return
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / TABLE, stream.getvalue())
    # A canonical SMILES of an RDKit that differs from this one may not read.
    pairs = [(m, row) for row in rows if (m := read_smiles(row["canonical"])).valid]
    write_atomic(folder / STRUCTURES, write_sdf([m for m, _ in pairs], [row for _, row in pairs]))


def shown_links() -> str:
    """Where the files are, as HTML."""
    table, structures = local_link(TABLE, TABLE), local_link(STRUCTURES, STRUCTURES)
    return f"<p>The molecules below as files: {table}, {structures}.</p>"
