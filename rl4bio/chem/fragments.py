"""The part of a salt or a mixture that matters."""

from __future__ import annotations

import functools
from typing import Any

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

COUNTER_IONS = (
    # Acids, neutral and without stereochemistry, as all of these.
    "F Cl Br I O O=S(=O)(O)O O=P(O)(O)O O=[N+]([O-])O OB(O)O OCl(=O)(=O)=O O=C(O)O N#CS",
    "O=CO CC(=O)O CCC(=O)O CC(O)C(=O)O OCC(=O)O O=C(O)C(=O)O O=C(O)CC(=O)O O=C(O)CCC(=O)O",
    "O=C(O)C=CC(=O)O O=C(O)CC(O)C(=O)O O=C(O)C(O)C(O)C(=O)O O=C(O)CC(O)(CC(=O)O)C(=O)O",
    "O=C(O)CCCCC(=O)O O=C(O)CCCC(=O)O O=C(O)CCCCCCCCC(=O)O C=CCCCCCCCCC(=O)O",
    "CCCCCCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O CCCCCCCCCCCC(=O)O",
    "O=C(O)C(F)(F)F O=S(=O)(O)C(F)(F)F CS(=O)(=O)O CCS(=O)(=O)O O=S(=O)(O)CCO",
    "O=S(=O)(O)CCS(=O)(=O)O",
    "O=S(=O)(O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1 O=S(=O)(O)c1ccc(Cl)cc1",
    "CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2",
    "O=S(=O)(O)c1cccc2ccccc12 O=S(=O)(O)c1ccc2ccccc2c1 O=S(=O)(O)c1cccc2c(S(=O)(=O)O)cccc12",
    "CCCCCCCCCCCCOS(=O)(=O)O COS(=O)(=O)O CCOS(=O)(=O)O NS(=O)(=O)O O=S(=O)(O)NC1CCCCC1",
    "O=C(O)c1ccccc1 O=C(O)c1ccccc1O O=C(O)c1cc(O)ccc1O O=C(O)c1cccnc1 O=C(O)c1cc2ccccc2cc1O",
    "O=C(O)c1ccc2ccccc2c1O O=C(O)C(O)c1ccccc1 O=C(O)CNC(=O)c1ccccc1 O=C(O)c1cc(=O)[nH]c(=O)[nH]1",
    "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O O=C(O)c1cc(O)c(O)c(O)c1",
    "O=C1NS(=O)(=O)c2ccccc12 CC1=CC(=O)NS(=O)(=O)O1 O=C(O)C1CCC(=O)N1 CC(=O)NCC(=O)O",
    "O=C(O)C(O)C(O)C(O)C(O)CO O=C(O)C(O)C(O)C(O)C(O)C(=O)O O=CC(O)C(O)C(O)C(O)C(=O)O",
    "O=C(O)C(O)C(O)C(O)C(O)C(O)CO O=C(O)C1OC(O)C(O)C(O)C1O O=C1OC(C(O)CO)C(O)=C1O",
    "O=C(O)C(O)C(O)C(OC1OC(CO)C(O)C(O)C1O)C(O)CO CCC(=O)OC(CCCCCCC)C(=O)O",
    "Cn1c(=O)c2nc(Cl)[nH]c2n(C)c1=O O=C(O)c1cc(-c2ccccc2)ccc1-c1ccccc1",
    "O=C(O)c1ccccc1-c1ccccc1 O=C(O)c1ccccc1C(=O)O O=C(O)c1ccc(C(=O)O)cc1 O=C(O)c1ccc(O)cc1",
    "O=C(O)C=Cc1ccccc1 O=C(O)C1(O)CC(O)C(O)C(O)C1 O=C(O)CC(C(=O)O)C(=O)O O=C(O)CCCCCCC(=O)O",
    "O=C(O)CCCCCCCC(=O)O CCCCCC(=O)O CCCCCCCC(=O)O O=S(=O)(O)CCCCS(=O)(=O)O O=S(=O)(O)C1CCCCC1",
    "O=[N+]([O-])c1cc([N+](=O)[O-])c(O)c([N+](=O)[O-])c1 O=C(O)CCC(=O)CC(=O)O O=C(O)CCC(=O)O",
    "O=S(=O)(NS(=O)(=O)C(F)(F)F)C(F)(F)F N#CNC#N O=S(=O)(O)C(F)(F)C(F)(F)C(F)(F)C(F)(F)F",
    # Bases.
    "N CN CNC CN(C)C CCN CCNCC CCN(CC)CC NCCN NCCO OCCNCCO OCCN(CCO)CCO CN(C)CCO C[N+](C)(C)CCO",
    "NC(CO)(CO)CO CNCC(O)C(O)C(O)C(O)CO OCC1OC(O)C(O)C(O)C1O C1CNCCN1 C1COCCN1 c1ccncc1 N=C(N)N",
    "NC1CCCCC1 C1CCC(NC2CCCCC2)CC1 CC(C)(C)N CC(N)(CO)CO CCCC[N+](CCCC)(CCCC)CCCC C[N+](C)(C)C",
    "c1ccc(CNCCNCc2ccccc2)cc1 NCCCCC(N)C(=O)O N=C(N)NCCCC(N)C(=O)O NCC(=O)O NC(CC(=O)O)C(=O)O",
    "NC(CCC(=O)O)C(=O)O C[N+](C)(C)CC(=O)O OCCN1CCCC1",
    # Solvents and what else crystals hold.
    "OO CO CCO CC(C)O CCCO CC(C)=O CC#N CS(C)=O CN(C)C=O C1CCOC1 C1COCCO1 CCOCC CCOC(C)=O ClCCl",
    "ClC(Cl)Cl Cc1ccccc1 c1ccccc1 CCCCCC CC(O)CO OCC(O)CO OCCO NC(N)=O C O=C=O S",
    "F[B-](F)(F)F F[P-](F)(F)(F)(F)F [B-](c1ccccc1)(c1ccccc1)(c1ccccc1)c1ccccc1",
)
"""SMILES of counter-ions and solvents that a drug is sold or measured with, in groups.

After RDKit's Salts.txt and the names of salts in pharmacopoeias, those that are larger than many a
drug among them: pamoic, lactobionic and 3-hydroxy-2-naphthoic acid, benzathine.
"""
_METALS = frozenset(
    atom
    for row in (
        ("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Ga", "Ge", "As", "Se"),
        ("Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "In", "Sn", "Sb", "Te"),
        ("Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Pb", "Th", "U"),
        ("La", "Ce", "Pr", "Nd", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu"),
    )
    for atom in row
)
"""Elements of which complexes and organometallic drugs are made; others count as counter-ions."""
_METALLOIDS = frozenset(["Ge", "As", "Se", "Te"])
_DIPOLES = frozenset(["S", "Se", "P", "As"])
_ANIONS = frozenset(["O", "S", "N", "C"])
_ALKALI = frozenset(["Li", "Na", "K", "Rb", "Cs"])
_SALT_METALS = _ALKALI | {"Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd", "Al", "Ag", "Bi", "Tl"}
"""Metals of salts, that some write with a bond to the acid."""


def has_metal(mol: Any) -> bool:
    """Whether a molecule has an atom of a complex or of an organometallic compound.

    Arsenic, selenium and the like are none: drugs hold them as they hold phosphorus and sulfur.
    """
    return any(atom.GetSymbol() in _METALS - _METALLOIDS for atom in mol.GetAtoms())


def without_salt_metals(mol: Any) -> Any:
    """Covalently written salts, such as CC(=O)O[Na] or O[Mg]O, without their metals.

    An alkali metal goes from any atom, others where all neighbours are O, S, N or halogens.
    """
    metals = [a for a in mol.GetAtoms() if a.GetDegree() and _is_salt_metal(a)]
    if not metals:
        return mol
    edited = Chem.RWMol(mol)
    for index in sorted((atom.GetIdx() for atom in metals), reverse=True):
        for other in edited.GetAtomWithIdx(index).GetNeighbors():
            other.SetNumExplicitHs(other.GetNumExplicitHs() + 1)
        edited.RemoveAtom(index)
    if not edited.GetNumAtoms():
        return mol
    plain = edited.GetMol()
    return mol if Chem.SanitizeMol(plain, catchErrors=True) else plain


def _is_salt_metal(atom: Any) -> bool:
    if atom.GetSymbol() in _ALKALI:
        return True
    partners = {neighbour.GetSymbol() for neighbour in atom.GetNeighbors()}
    return atom.GetSymbol() in _SALT_METALS and partners <= {"O", "S", "N", "F", "Cl", "Br", "I"}


def drug_part(mol: Any) -> tuple[Any, list[Any]]:
    """The part of a sanitised molecule that matters, and other large parts that are no counter-ion.

    Parts that are COUNTER_IONS, water or bare ions go, unless nothing else is left; the rest with
    most heavy atoms stays: of parts of one size that with the longest SMILES, then the last in
    alphabetical order. Complexes whose ligands are written apart, and inorganic salts, stay whole.

    Returns:
        the part; and the other parts that are no counter-ion and not the same, which make the
        molecule a mixture.
    """
    parts = list(Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=True))
    if len(parts) == 1 or has_metal(mol):
        return mol, []
    if not any(map(_is_organic, parts)):
        return mol, []
    names = [_plain(part) for part in parts]
    known = _counter_ions()
    kept = [k for k, name in enumerate(names) if name not in known and _is_organic(parts[k])]
    chosen = kept or range(len(parts))
    best = max(chosen, key=lambda k: (parts[k].GetNumHeavyAtoms(), len(names[k]), names[k]))
    others = {names[k]: parts[k] for k in kept if names[k] != names[best]}
    return parts[best], list(others.values())


def uncharged(mol: Any, *, zwitterions: bool = False) -> Any:
    """The molecule with protons added or taken where that removes charges; S, Se, P, As of opposite
    charge to a neighbour are joined to it by a double bond, as in S=O.

    Metals of complexes, quaternary nitrogen and nitro groups stay as they are; so do anions that
    balance quaternary nitrogen, unless `zwitterions` are to be protonated too.
    """
    mol = _with_double_bonds(mol)
    if not any(atom.GetFormalCharge() for atom in mol.GetAtoms()) or has_metal(mol):
        return mol
    return rdMolStandardize.Uncharger(True, zwitterions).uncharge(mol)


def without_isotopes(mol: Any) -> Any:
    """A copy without isotope labels and without hydrogen atoms of its own, deuterium included."""
    mol = Chem.Mol(mol)
    for atom in mol.GetAtoms():
        atom.SetIsotope(0)
    return Chem.RemoveHs(mol)


def _with_double_bonds(mol: Any) -> Any:
    """Sulfoxides, phosphine oxides, ylides and the like without the charges of their dipoles."""
    if not any(a.GetFormalCharge() > 0 and a.GetSymbol() in _DIPOLES for a in mol.GetAtoms()):
        return mol
    edited = Chem.RWMol(mol)
    for bond in edited.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        plus, minus = sorted(ends, key=lambda atom: -atom.GetFormalCharge())
        dipole = plus.GetFormalCharge() > 0 > minus.GetFormalCharge()
        named = plus.GetSymbol() in _DIPOLES and minus.GetSymbol() in _ANIONS
        if dipole and named and bond.GetBondType() == Chem.BondType.SINGLE:
            bond.SetBondType(Chem.BondType.DOUBLE)
            plus.SetFormalCharge(plus.GetFormalCharge() - 1)
            minus.SetFormalCharge(minus.GetFormalCharge() + 1)
    plain = edited.GetMol()
    return mol if Chem.SanitizeMol(plain, catchErrors=True) else plain


def _is_organic(part: Any) -> bool:
    return any(atom.GetSymbol() in ("C", *_METALS) for atom in part.GetAtoms())


def _plain(part: Any) -> str:
    """SMILES without charges that protons make, isotopes and stereochemistry."""
    plain = uncharged(without_salt_metals(without_isotopes(part)))
    return str(Chem.MolToSmiles(plain, isomericSmiles=False))


@functools.cache
def _counter_ions() -> frozenset[str]:
    texts = " ".join(COUNTER_IONS).split()
    return frozenset(_plain(Chem.MolFromSmiles(text)) for text in texts)
