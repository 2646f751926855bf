"""Scaffolds that molecules are grouped by."""

from __future__ import annotations

from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold

from rl4bio.chem.identity import parent_scaffold
from rl4bio.chem.reading import Molecule, read_smiles


def topological_scaffold(molecule: Molecule) -> str:
    """The Murcko scaffold of a valid molecule's parent with every atom a carbon and every bond
    single; "" where it is acyclic."""
    text = parent_scaffold(molecule)
    if not text:
        return ""
    with rdBase.BlockLogs():
        core = read_smiles(text, allow_dummies=True).mol
        return str(Chem.MolToSmiles(MurckoScaffold.MakeScaffoldGeneric(core)))
