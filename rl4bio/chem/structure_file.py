"""Molecules as an SDF, which the programs of chemists open: structures with their data."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor

from rl4bio.chem.reading import Molecule


def write_sdf(molecules: Sequence[Molecule], data: Sequence[Mapping[str, str]]) -> str:
    """The text of an SDF; the same molecules give the same text.

    Args:
        molecules: M valid ones; the title of each is its canonical SMILES.
        data: name -> value, one mapping each; empty values are left out.
    """
    stream = io.StringIO()
    with rdBase.BlockLogs():
        writer = Chem.SDWriter(stream)
        for molecule, own in zip(molecules, data, strict=True):
            mol = Chem.Mol(molecule.mol)
            rdDepictor.Compute2DCoords(mol)
            mol.SetProp("_Name", molecule.canonical)
            for name, value in own.items():
                if value:
                    mol.SetProp(name, value)
            writer.write(mol)
        writer.close()
    return stream.getvalue()
