"""The GuacaMol and PMO objectives that RDKit alone can score.

Definitions after Brown et al., 2019 (GuacaMol, suite v2) and Gao et al., 2022 (PMO); names as in
PMO. Each is a function of a valid molecule with values in [0, 1].
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable

from rdkit import Chem

from rl4bio.chem import properties
from rl4bio.chem.fingerprints import similarity
from rl4bio.chem.modifiers import (
    arithmetic_mean,
    clipped,
    gaussian,
    geometric_mean,
    max_gaussian,
    min_gaussian,
)
from rl4bio.chem.reading import Molecule, read_smiles, remembered

Objective = Callable[[Molecule], float]

REFERENCES = {
    "albuterol": "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    "amlodipine": r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC",
    "aripiprazole": "Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl",
    "camphor": "CC1(C)C2CCC1(C)C(=O)C2",
    "celecoxib": "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F",
    "fexofenadine": "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4",
    "hop": "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C",
    "menthol": "CC(C)C1CCC(C)CC1O",
    "mestranol": "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1",
    "osimertinib": "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34",
    "perindopril": "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC",
    "ranolazine": "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2",
    "sildenafil": "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C",
    "sitagliptin": "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F",
    "tadalafil": "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C",
    "thiothixene": "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1",
    "troglitazone": "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O",
    "zaleplon": "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1",
}
"""The molecules that objectives compare with; `hop` is the start of both hops."""

PATTERNS = {
    "valsartan": "CN(C=O)Cc1ccc(c2ccccc2)cc1",
    "sulfone": "CS([#6])(=O)=O",
    "benzothiazole": "[#7]-c1ccc2ncsc2c1",
    "quinazoline": "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12",
    "decoration": "[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-[#7]-c1ccc2ncsc2c1",
}
"""SMARTS of substructures that objectives want or forbid."""


@functools.cache
def reference(name: str) -> Molecule:
    """One of REFERENCES, held apart from the cache of readings so that it stays."""
    return read_smiles(REFERENCES[name])


def like(molecule: Molecule, name: str, kind: str) -> float:
    """Similarity in [0, 1] to a reference by a fingerprint."""
    return similarity(molecule, reference(name), kind)


def contains(molecule: Molecule, name: str) -> float:
    """1 where the molecule has one of PATTERNS, 0 where it has not."""
    return float(molecule.mol.HasSubstructMatch(_pattern(name)))


def lacks(molecule: Molecule, name: str) -> float:
    """1 where the molecule has not one of PATTERNS, 0 where it has."""
    return 1.0 - contains(molecule, name)


@remembered
def element_counts(molecule: Molecule) -> Counter[str]:
    """Number of atoms by element symbol, hydrogens included."""
    counts = Counter(atom.GetSymbol() for atom in molecule.mol.GetAtoms())
    counts["H"] += sum(atom.GetTotalNumHs() for atom in molecule.mol.GetAtoms())
    return counts


def isomer_score(molecule: Molecule, formula: str) -> float:
    """How near a molecule is to a formula, in [0, 1].

    Geometric mean of a Gaussian of width 1 for the count of each element in the formula and one of
    width 2 for the number of all atoms; other elements count in the latter alone.

    Args:
        molecule: a valid molecule.
        formula: as in "C9H10N2O2PF2Cl".
    """
    wanted = _formula(formula)
    counts = element_counts(molecule)
    terms = [gaussian(counts[element], mu=n, sigma=1.0) for element, n in wanted.items()]
    total = gaussian(counts.total(), mu=sum(wanted.values()), sigma=2.0)
    return geometric_mean(*terms, total)


def median1(m: Molecule) -> float:
    """Between camphor and menthol."""
    return geometric_mean(like(m, "camphor", "ECFP4"), like(m, "menthol", "ECFP4"))


def median2(m: Molecule) -> float:
    """Between tadalafil and sildenafil."""
    return geometric_mean(like(m, "tadalafil", "ECFP6"), like(m, "sildenafil", "ECFP6"))


def osimertinib_mpo(m: Molecule) -> float:
    """Like osimertinib by features, not by structure; more polar, less lipophilic."""
    return geometric_mean(
        clipped(like(m, "osimertinib", "FCFP4"), upper=0.8),
        min_gaussian(like(m, "osimertinib", "ECFP6"), mu=0.85, sigma=0.1),
        max_gaussian(properties.tpsa(m), mu=100, sigma=10),
        min_gaussian(properties.logp(m), mu=1, sigma=1),
    )


def fexofenadine_mpo(m: Molecule) -> float:
    """Like fexofenadine, more polar and less lipophilic."""
    return geometric_mean(
        clipped(like(m, "fexofenadine", "AP"), upper=0.8),
        max_gaussian(properties.tpsa(m), mu=90, sigma=10),
        min_gaussian(properties.logp(m), mu=4, sigma=1),
    )


def ranolazine_mpo(m: Molecule) -> float:
    """Like ranolazine, more lipophilic and more polar, with one fluorine."""
    return geometric_mean(
        clipped(like(m, "ranolazine", "AP"), upper=0.7),
        max_gaussian(properties.logp(m), mu=7, sigma=1),
        gaussian(element_counts(m)["F"], mu=1, sigma=1),
        max_gaussian(properties.tpsa(m), mu=95, sigma=20),
    )


def perindopril_mpo(m: Molecule) -> float:
    """Like perindopril, with two aromatic rings."""
    return geometric_mean(
        like(m, "perindopril", "ECFP4"),
        gaussian(properties.aromatic_rings(m), mu=2, sigma=0.5),
    )


def amlodipine_mpo(m: Molecule) -> float:
    """Like amlodipine, with three rings."""
    return geometric_mean(
        like(m, "amlodipine", "ECFP4"),
        gaussian(properties.rings(m), mu=3, sigma=0.5),
    )


def sitagliptin_mpo(m: Molecule) -> float:
    """Sitagliptin's formula, logP and polar surface in a molecule that is unlike it."""
    drug = reference("sitagliptin")
    return geometric_mean(
        gaussian(like(m, "sitagliptin", "ECFP4"), mu=0, sigma=0.1),
        gaussian(properties.logp(m), mu=properties.logp(drug), sigma=0.2),
        gaussian(properties.tpsa(m), mu=properties.tpsa(drug), sigma=5),
        isomer_score(m, "C16H15F6N5O"),
    )


def zaleplon_mpo(m: Molecule) -> float:
    """Like zaleplon, with another formula."""
    return geometric_mean(like(m, "zaleplon", "ECFP4"), isomer_score(m, "C19H17N3O2"))


def valsartan_smarts(m: Molecule) -> float:
    """Valsartan's core with sitagliptin's logP, polar surface and complexity."""
    drug = reference("sitagliptin")
    return geometric_mean(
        contains(m, "valsartan"),
        gaussian(properties.logp(m), mu=properties.logp(drug), sigma=0.2),
        gaussian(properties.tpsa(m), mu=properties.tpsa(drug), sigma=5),
        gaussian(properties.bertz(m), mu=properties.bertz(drug), sigma=30),
    )


def deco_hop(m: Molecule) -> float:
    """The scaffold of the start with other decorations."""
    return arithmetic_mean(
        clipped(like(m, "hop", "PHCO"), upper=0.85),
        lacks(m, "sulfone"),
        lacks(m, "benzothiazole"),
        contains(m, "quinazoline"),
    )


def scaffold_hop(m: Molecule) -> float:
    """The decorations of the start on another scaffold."""
    return arithmetic_mean(
        clipped(like(m, "hop", "PHCO"), upper=0.75),
        contains(m, "decoration"),
        lacks(m, "quinazoline"),
    )


OBJECTIVES: dict[str, Objective] = {
    "qed": properties.qed,
    "celecoxib_rediscovery": lambda m: like(m, "celecoxib", "ECFP4"),
    "troglitazone_rediscovery": lambda m: like(m, "troglitazone", "ECFP4"),
    "thiothixene_rediscovery": lambda m: like(m, "thiothixene", "ECFP4"),
    "aripiprazole_similarity": lambda m: clipped(like(m, "aripiprazole", "ECFP4"), upper=0.75),
    "albuterol_similarity": lambda m: clipped(like(m, "albuterol", "FCFP4"), upper=0.75),
    "mestranol_similarity": lambda m: clipped(like(m, "mestranol", "AP"), upper=0.75),
    "isomers_c11h24": lambda m: isomer_score(m, "C11H24"),
    "isomers_c7h8n2o2": lambda m: isomer_score(m, "C7H8N2O2"),
    "isomers_c9h10n2o2pf2cl": lambda m: isomer_score(m, "C9H10N2O2PF2Cl"),
    "median1": median1,
    "median2": median2,
    "osimertinib_mpo": osimertinib_mpo,
    "fexofenadine_mpo": fexofenadine_mpo,
    "ranolazine_mpo": ranolazine_mpo,
    "perindopril_mpo": perindopril_mpo,
    "amlodipine_mpo": amlodipine_mpo,
    "sitagliptin_mpo": sitagliptin_mpo,
    "zaleplon_mpo": zaleplon_mpo,
    "valsartan_smarts": valsartan_smarts,
    "deco_hop": deco_hop,
    "scaffold_hop": scaffold_hop,
}
"""The objectives by name. With PMO's three classifiers, and without aripiprazole and C11H24, which
are GuacaMol's alone, these are PMO's 23 tasks."""


@functools.cache
def _pattern(name: str) -> Chem.Mol:
    return Chem.MolFromSmarts(PATTERNS[name])


@functools.cache
def _formula(formula: str) -> dict[str, int]:
    return {element: int(n or 1) for element, n in re.findall(r"([A-Z][a-z]?)(\d*)", formula)}
