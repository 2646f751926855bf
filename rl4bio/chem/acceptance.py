"""What a chemist accepts as a design: named rules, each with an option of its own.

A molecule that RDKit reads may still be none that anybody would make. A policy finds such molecules
where a score says nothing of them: a radical in place of a ring, astatine for chlorine, a second
fragment that carries the missing property.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rdkit import Chem

from rl4bio.chem.alerts import CATALOGS, catalog_alerts, long_chains, unstable_groups
from rl4bio.chem.patterns import has_pattern, read_smarts
from rl4bio.chem.properties import heavy_atoms, rings, rotatable_bonds
from rl4bio.chem.reading import Molecule
from rl4bio.registry import build_dataclass, did_you_mean
from rl4bio.sections.checks import at_least

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")

_VALENCES: dict[tuple[str, int], tuple[int, ...]] = {
    ("H", 0): (1,),
    ("B", 0): (3,),
    ("B", -1): (4,),
    ("C", 0): (4,),
    ("N", 0): (3,),
    ("N", 1): (4,),
    ("N", -1): (2,),
    ("O", 0): (2,),
    ("O", -1): (1,),
    ("F", 0): (1,),
    ("Si", 0): (4,),
    ("P", 0): (3, 5),
    ("P", 1): (4,),
    ("S", 0): (2, 4, 6),
    ("S", 1): (3,),
    ("S", -1): (1,),
    ("Cl", 0): (1,),
    ("Br", 0): (1,),
    ("I", 0): (1,),
}
"""Element and charge -> usual number of bonds, double ones twice, hydrogens included."""
_NEIGHBOURS = {("S", 4): 3, ("S", 6): 4, ("P", 5): 4}
"""Element and bonds beyond its first valence -> neighbours: the rest are double bonds, as in
sulfoxides, sulfones and phosphates; CS(C)(C)C has none."""
_ACIDS = (
    "[O-]-[#6]=,:[#6,O,N,n,S,o]",
    "[O-]-[P,S,B]",
    "[O-]-[N+]",
    "[S-]-[#6]=,:[#6,N,n,O,S]",
    "[N-,n-]~[#6,#16]=,:[O,N,n,c,S]",
    "[n-]",
    "[N-]=[N+]",
    "[O-]-c",
    "[B-]",
)
"""SMARTS of anions that stand beside a cation at neutral pH; an alkoxide or amide ion does not."""
_PAIRS = {("N", "O", 1), ("S", "O", 1), ("P", "O", 1), ("N", "N", 2), ("N", "C", 3)}
"""Cation, anion and order of the bond of neighbours, as in nitro groups, N-oxides and azides."""
_MOST_CHARGES = 6
"""Charged atoms of a molecule, those of nitro groups included."""
_MOST_NEIGHBOURS = 4


@dataclass(kw_only=True)
class Rules:
    """Which rules a design is held to; a field is the rule's name and option."""

    radicals: bool = True
    """Refuse atoms with unpaired electrons, such as [CH2] or [N]."""
    valences: bool = True
    """Refuse numbers of bonds that are unusual for the element and charge: carbanions, oxonium,
    iodine of three bonds."""
    elements: list[str] = field(default_factory=lambda: list(ELEMENTS))
    """Those that are allowed; empty = any."""
    isotopes: bool = True
    """Refuse isotope labels, deuterium included."""
    fragments: bool = True
    """Refuse more than one fragment."""
    charges: bool = True
    """Refuse a net charge, opposite charges on neighbours other than those of nitro groups, oxides
    and the like, and more than one pair of charges apart from those."""
    unstable: bool = True
    """Refuse the groups of `rl4bio.chem.alerts.UNSTABLE`, such as O-O and N-N-N."""
    chains: bool = True
    """Refuse the chains of `rl4bio.chem.alerts.CHAINS`: eight CH2 in a row and the like."""
    min_atoms: int = 1
    """Other than hydrogen; the rule `atoms`."""
    max_atoms: int = 70
    max_rings: int = 9
    """The rule `rings`."""
    max_ring_size: int = 20
    """The same rule: atoms of a ring."""
    max_rotatable: int = 20
    """Rotatable bonds; the rule `rotatable`."""
    alerts: list[str] = field(default_factory=list)
    """SMARTS of groups to refuse besides, stereochemistry where they spell it; the rule `alerts`.
    A reward with some scores in a process of its own, since a pattern may take for ever."""
    catalogs: list[str] = field(default_factory=list)
    """Published lists of alerts of RDKit to refuse besides, such as BRENK, PAINS, CHEMBL_Dundee,
    CHEMBL_BMS, CHEMBL_Glaxo; the rule `catalogs`."""

    def __post_init__(self) -> None:
        table = Chem.GetPeriodicTable()
        for symbol in self.elements:
            try:
                table.GetAtomicNumber(symbol)
            except RuntimeError:
                raise ValueError(f"elements: {symbol!r} is no element") from None
        at_least(0, min_atoms=self.min_atoms, max_atoms=self.max_atoms, max_rings=self.max_rings)
        at_least(0, max_ring_size=self.max_ring_size, max_rotatable=self.max_rotatable)
        for smarts in self.alerts:
            try:
                read_smarts(smarts)
            except ValueError as error:
                raise ValueError(f"alerts: {error}; repair it") from None
        for name in self.catalogs:
            if name not in CATALOGS:
                raise ValueError(
                    f"catalogs: unknown list {name!r}{did_you_mean(name, CATALOGS)}; known: "
                    + ", ".join(CATALOGS)
                )
        self._key = f"rules {sorted(vars(self).items())}"


def build_rules(given: Any, *, where: str = "rules") -> Rules | None:
    """The rules of an option: standard, none, or {rule: value} that differ from the standard.

    Raises:
        ValueError: it is none of these.
        ConfigError: a rule is unknown, or its value is refused.
    """
    if given is None or given in ("none", False):
        return None
    if given in ("standard", True):
        return STANDARD
    if isinstance(given, dict):
        return build_dataclass(Rules, given, where=where)
    raise ValueError(
        f"{where}: got {given!r}, needs standard, none, or rules such as "
        "{radicals: true, max_atoms: 50}"
    )


def broken_rules(molecule: Molecule, rules: Rules | None = None) -> tuple[str, ...]:
    """Names of the rules that a valid molecule breaks, in the order of `RULES`.

    Args:
        molecule: a valid one.
        rules: None = the standard ones.
    """
    rules = STANDARD if rules is None else rules
    found = molecule.memo.get(rules._key)
    if found is None:
        found = tuple(name for name, breaks in RULES.items() if breaks(molecule, rules))
        molecule.memo[rules._key] = found
    return tuple(found)


def _radicals(molecule: Molecule, rules: Rules) -> bool:
    return rules.radicals and any(a.GetNumRadicalElectrons() for a in molecule.mol.GetAtoms())


def _valences(molecule: Molecule, rules: Rules) -> bool:
    return rules.valences and any(_is_unusual(atom) for atom in molecule.mol.GetAtoms())


def _is_unusual(atom: Any) -> bool:
    """Of the elements that the table knows; isocyanides and counter-ions are other rules' work."""
    symbol, charge = atom.GetSymbol(), atom.GetFormalCharge()
    if symbol not in ELEMENTS or (not atom.GetDegree() and charge):
        return False
    usual = _VALENCES.get((symbol, charge))
    total = atom.GetTotalValence() + atom.GetNumRadicalElectrons()
    if usual is None:
        partners = {n.GetFormalCharge() for n in atom.GetNeighbors()}
        return not ((symbol, charge, total) == ("C", -1, 3) and 1 in partners)
    neighbours: int = atom.GetTotalDegree()
    if total not in usual or neighbours > _MOST_NEIGHBOURS:
        return True
    return neighbours != _NEIGHBOURS.get((symbol, total), neighbours)


def _elements(molecule: Molecule, rules: Rules) -> bool:
    allowed = {*rules.elements, "H"}
    return bool(rules.elements) and any(
        atom.GetSymbol() not in allowed for atom in molecule.mol.GetAtoms()
    )


def _isotopes(molecule: Molecule, rules: Rules) -> bool:
    return rules.isotopes and any(atom.GetIsotope() for atom in molecule.mol.GetAtoms())


def _fragments(molecule: Molecule, rules: Rules) -> bool:
    return rules.fragments and "." in molecule.canonical


def _charges(molecule: Molecule, rules: Rules) -> bool:
    if not rules.charges:
        return False
    charged = [atom for atom in molecule.mol.GetAtoms() if atom.GetFormalCharge()]
    if not charged:
        return False
    signs = [atom.GetFormalCharge() for atom in charged]
    if sum(signs) or max(map(abs, signs)) > 1 or len(charged) > _MOST_CHARGES:
        return True
    lone = 0
    for atom in charged:
        partners = [n for n in atom.GetNeighbors() if n.GetFormalCharge()]
        lone += not partners
        if not partners and atom.GetFormalCharge() < 0 and not _is_acid(molecule, atom.GetIdx()):
            return True
        if any(not _may_be_neighbours(atom, other) for other in partners):
            return True
    return lone > 2


def _is_acid(molecule: Molecule, place: int) -> bool:
    """Whether the anion at a place is one of _ACIDS."""
    return any(
        place == found[0]
        for smarts in _ACIDS
        for found in molecule.mol.GetSubstructMatches(read_smarts(smarts))
    )


def _may_be_neighbours(one: Any, other: Any) -> bool:
    first, second = sorted((one, other), key=lambda atom: -atom.GetFormalCharge())
    opposite = first.GetFormalCharge() > 0 > second.GetFormalCharge()
    bond = one.GetOwningMol().GetBondBetweenAtoms(one.GetIdx(), other.GetIdx())
    order = int(bond.GetBondTypeAsDouble())
    return opposite and (first.GetSymbol(), second.GetSymbol(), order) in _PAIRS


def _rings(molecule: Molecule, rules: Rules) -> bool:
    sizes = [len(ring) for ring in molecule.mol.GetRingInfo().AtomRings()]
    return rings(molecule) > rules.max_rings or max(sizes, default=0) > rules.max_ring_size


RULES: dict[str, Callable[[Molecule, Rules], bool]] = {
    "radicals": _radicals,
    "valences": _valences,
    "elements": _elements,
    "isotopes": _isotopes,
    "fragments": _fragments,
    "charges": _charges,
    "atoms": lambda m, rules: not rules.min_atoms <= heavy_atoms(m) <= rules.max_atoms,
    "rings": _rings,
    "rotatable": lambda m, rules: rotatable_bonds(m) > rules.max_rotatable,
    "chains": lambda m, rules: rules.chains and bool(long_chains(m)),
    "unstable": lambda m, rules: rules.unstable and bool(unstable_groups(m)),
    "alerts": lambda m, rules: any(has_pattern(m, s, stereo=True) for s in rules.alerts),
    "catalogs": lambda m, rules: any(catalog_alerts(m, name) for name in rules.catalogs),
}
"""Name -> whether a valid molecule breaks the rule; the cheap ones first."""

STANDARD = Rules()
