"""Properties of a valid molecule, each computed once and kept in its memo."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from rdkit import Chem
from rdkit.Chem import QED, Descriptors, FilterCatalog, GraphDescriptors
from rdkit.Chem import rdMolDescriptors as descriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from rl4bio.chem.accessibility import accessibility
from rl4bio.chem.reading import Molecule, remembered


@remembered
def qed(molecule: Molecule) -> float:
    """Quantitative estimate of drug-likeness in (0, 1), mean weights (Bickerton et al., 2012)."""
    return float(QED.qed(molecule.mol))


@remembered
def logp(molecule: Molecule) -> float:
    """Octanol-water partition coefficient, log10, estimated after Wildman and Crippen (1999)."""
    return float(descriptors.CalcCrippenDescriptors(molecule.mol)[0])


@remembered
def sa(molecule: Molecule) -> float:
    """Synthetic accessibility from 1 (easy) to 10 (hard), see `rl4bio.chem.accessibility`.

    Raises:
        MissingPackageError: RDKit was installed without its Contrib folder.
    """
    return accessibility(molecule.mol)


@remembered
def tpsa(molecule: Molecule) -> float:
    """Topological polar surface area of nitrogen and oxygen in square angstrom (Ertl, 2000)."""
    return float(descriptors.CalcTPSA(molecule.mol))


@remembered
def molecular_weight(molecule: Molecule) -> float:
    """Average molecular weight in g/mol, implicit hydrogens included."""
    return float(Descriptors.MolWt(molecule.mol))  # type: ignore[attr-defined]


@remembered
def heavy_atoms(molecule: Molecule) -> int:
    """Number of atoms that are not hydrogen."""
    return int(molecule.mol.GetNumHeavyAtoms())


@remembered
def rings(molecule: Molecule) -> int:
    """Number of rings in the smallest set of smallest rings."""
    return int(descriptors.CalcNumRings(molecule.mol))


@remembered
def aromatic_rings(molecule: Molecule) -> int:
    """Number of rings whose bonds are all aromatic."""
    return int(descriptors.CalcNumAromaticRings(molecule.mol))


@remembered
def rotatable_bonds(molecule: Molecule) -> int:
    """Number of rotatable bonds, RDKit's strict definition (amide bonds excluded)."""
    return int(descriptors.CalcNumRotatableBonds(molecule.mol))


@remembered
def bertz(molecule: Molecule) -> float:
    """Bertz's complexity index (1981): information content of bonds and of elements."""
    return float(GraphDescriptors.BertzCT(molecule.mol))


@remembered
def lipinski_violations(molecule: Molecule) -> int:
    """How many of Lipinski's four rules (1997) are broken.

    Weight above 500 g/mol, logP above 5, more than 5 N-H and O-H bonds, more than 10 N and O.
    """
    return (
        (molecular_weight(molecule) > 500)
        + (logp(molecule) > 5)
        + (descriptors.CalcNumLipinskiHBD(molecule.mol) > 5)
        + (descriptors.CalcNumLipinskiHBA(molecule.mol) > 10)
    )


@remembered
def pains_alerts(molecule: Molecule) -> int:
    """Number of matching pan-assay interference patterns (Baell and Holloway, 2010), of 480."""
    return len(_pains_catalog().GetMatches(molecule.mol))


@remembered
def scaffold(molecule: Molecule) -> str:
    """SMILES of the Bemis-Murcko scaffold (1996) without stereochemistry, "" where acyclic."""
    core = MurckoScaffold.GetScaffoldForMol(molecule.mol)
    return str(Chem.MolToSmiles(core, isomericSmiles=False))


PROPERTIES: dict[str, Callable[[Molecule], float]] = {
    "qed": qed,
    "logp": logp,
    "sa": sa,
    "tpsa": tpsa,
    "molecular_weight": molecular_weight,
    "heavy_atoms": heavy_atoms,
    "rings": rings,
    "aromatic_rings": aromatic_rings,
    "rotatable_bonds": rotatable_bonds,
    "bertz": bertz,
    "lipinski_violations": lipinski_violations,
    "pains_alerts": pains_alerts,
}
"""The numbers among them, by the name that a configuration uses."""


@functools.cache
def _pains_catalog() -> Any:
    parameters = FilterCatalog.FilterCatalogParams()
    parameters.AddCatalog(FilterCatalog.FilterCatalogParams.FilterCatalogs.PAINS)
    return FilterCatalog.FilterCatalog(parameters)
