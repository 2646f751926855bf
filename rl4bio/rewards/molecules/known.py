"""Sets of known molecules, as 64-bit keys of their names."""

from __future__ import annotations

import functools
from pathlib import Path

from rl4bio.chem.identity import same_name
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.states import molecule_key
from rl4bio.chem.tables import read_smiles_column
from rl4bio.errors import DataError


@functools.lru_cache(maxsize=8)
def read_known(
    file: str, *, column: str | None = None, canonical: bool = False, stereo: bool = True
) -> frozenset[int]:
    """The keys of all molecules of a file.

    Args:
        file: of a kind that rl4bio/chem/tables.py reads.
        column: None is `smiles`, or else the only column with smiles in its name.
        canonical: take the texts as they are, without reading each with RDKit.
        stereo: whether stereochemistry counts; not with canonical.

    Raises:
        DataError: the file cannot be read, or a row holds no SMILES; names file and line.
    """
    path = Path(file)
    rows = read_smiles_column(
        path, column, option="the reward's file", column_option="the reward's column"
    )
    return frozenset(
        molecule_key(text if canonical else _name(text, f"{path}:{line}", stereo))
        for line, text in rows
    )


def _name(text: str, place: str, stereo: bool) -> str:
    molecule = read_smiles(text)
    if not molecule.valid:
        raise DataError(
            f"{place}: {text[:80]!r} is no SMILES ({molecule.reason}); repair or remove the row"
        )
    return same_name(molecule, stereo=stereo)
