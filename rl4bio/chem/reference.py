"""Reference sets that written molecules are compared with: their files, and a fixed subset."""

from __future__ import annotations

import csv
import gzip
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

from rl4bio.chem.reading import Molecule, read_smiles
from rl4bio.errors import DataError

SUBSET_SIZE = 2_000
"""Molecules that nearest neighbours are looked for in, at most."""


def reference_subset(smiles: Sequence[str], *, size: int = SUBSET_SIZE) -> list[Molecule]:
    """The valid molecules among `size` rows, in their order.

    The rows depend on the number of rows and on `size` alone, not on the seed of a run, so that
    runs with one reference compare with the same molecules.
    """
    rows = range(len(smiles))
    chosen = sorted(random.Random(0).sample(rows, min(size, len(rows))))
    return [molecule for k in chosen if (molecule := read_smiles(smiles[k])).valid]


def read_smiles_file(path: Path) -> list[str]:
    """The SMILES of a file: the column `smiles` of a .csv, else the first word of each line.

    Args:
        path: .csv with a header, or .smi or .txt; each may be packed as .gz.

    Raises:
        DataError: the file cannot be read, has no column `smiles`, or holds no molecule.
    """
    try:
        packed = path.name.lower().endswith(".gz")
        text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read ({reason}); check its name and content") from None
    lines = text.removeprefix("\ufeff").splitlines()
    if path.name.lower().removesuffix(".gz").endswith(".csv"):
        table = csv.DictReader(lines)
        names = {name.strip().lower(): name for name in table.fieldnames or []}
        if "smiles" not in names:
            found = ", ".join(list(names)[:10]) or "none"
            raise DataError(f"{path}:1: no column smiles; it has {found}; rename one of them")
        smiles = [(row[names["smiles"]] or "").strip() for row in table]
    else:
        smiles = [line.split()[0] for line in lines if line.strip()]
    if not any(smiles):
        raise DataError(f"{path}: holds no molecule; name a file with SMILES")
    return smiles
