"""Groups that a chemist would not make, or could not keep: a list of our own, as SMARTS by name.

In the manner of the lists of Brenk (2008), Dundee, BMS and Glaxo, but only what breaks or explodes
on the shelf or in water. Groups of drugs that are merely reactive, such as acrylamides, or
coloured, such as azo dyes, are not on it. RDKit's FilterCatalog holds the published lists;
`CATALOGS` names those that `Rules.catalogs` may add.
"""

from __future__ import annotations

import functools
from typing import Any

from rdkit.Chem import FilterCatalog

from rl4bio.chem.patterns import has_pattern
from rl4bio.chem.reading import Molecule

UNSTABLE = {
    "peroxide": "[#8]-[#8]",
    "disulfide": "[#16X2;!a]-[#16X2;!a]",
    "thiosulfonate": "[SX2;!a]-[SX3,SX4]=O",
    "nitrogen_chain": "[#7;!a]~[#7;!a]~[#7;!a]",
    "nitrogen_chain_on_ring": "[#7;a]-[#7;!a]-[#7;!a]",
    "heteroatom_chain": "[N,O,SX2]-[N,O,SX2]-[N,O,SX2]",
    "many_nitrogen_ring": "[#7;a]1[#7;a][#7;a][#7;a][#7;a]1",
    "tetrazine_1234": "[n;r6]:[n;r6]:[n;r6]:[n;r6]",
    "hydroxylamine": "[NX3;!$(N-[#6,#16]=,:[O,N,n,S]);!$([N+])]-[OX2]",
    "hydrazine": "[NX3;H2]-[NX3;!$(N-[#6]=[O,N,S]);!$(N-S(=O)=O)]",
    "sulfenamide": "[NX3;!a]-[SX2;!a]",
    "sulfenate": "[OX2;!a]-[SX2;!a]",
    "heteroatom_halogen": "[#7,#8,#15,#16,#5]-[F,Cl,Br,I]",
    "nitrite_or_nitrate": "[OX2]-[#7;$([N+](=O)[O-]),$(N=O)]",
    "nitroso": "[#6,#7]-[NX2]=[OX1]",
    "nitramine": "[#7]-[N+](=O)[O-]",
    "azo_aliphatic": "[#6;!a]-[NX2;!R]=[NX2;!R]",
    "diazene": "[NX2;H1]=[NX2]",
    "diazonium": "[N+]#N",
    "diazo": "[#6]=[N+]=[N-]",
    "isocyanide": "[C-]#[N+]",
    "isocyanate": "[NX2]=[CX2]=[O,S,N]",
    "ketene_or_allene": "[#6]=[CX2]=[#6,O,S]",
    "acyl_halide": "[CX3](=[O,S])[F,Cl,Br,I]",
    "anhydride": "[CX3](=[O,S])[OX2,SX2][CX3]=[O,S]",
    "thiocarbonyl": "[#6][CX3](=[SX1])[#6,#1]",
    "thioaldehyde": "[CX3;H1,H2]=[SX1]",
    "enol": "[OX2H]-[CX3;!$(C-[#6,#16]=[O,N])]=[CX3;!$(C-[#6,#16]=[O,N]);!$(C-C#N)]",
    "enethiol": "[SX2H]-[CX3]=[CX3]",
    "enamine": "[NX3H2]-[CX3;!$(C-[#6,#16]=[O,N])]=[CX3;!$(C-[#6,#7,#16]=[O,N]);!$(C-C#N)]",
    "imidic_acid": "[OX2H]-[CX3;!R]=[NX2]",
    "vicinal_tricarbonyl": "[#6]-[CX3](=O)-[CX3](=O)-[CX3]=O",
    "cyanogen": "N#C-C#N",
    "geminal_tricyano": "[CX4](C#N)(C#N)C#N",
    "imine": "[CX3;!$(C[N,O,S])]=[NX2;H1]",
    "aldimine": "[CX3;!R;H1,H2;!$(C[N,O,S])]=[NX2;!R]-[CX4]",
    "geminal_diol": "[CX4;!$(C[CX4](F)(F)F)]([OX2;H1])[OX2;H1]",
    "hemiacetal": "[CX4;!R]([OX2;H1])[OX2;H0][#6]",
    "hemiaminal": "[CX4;!R]([OX2;H1])[NX3;!$(N-[#6,#16]=[O,S])]",
    "geminal_diamine": "[CX4;!R]([NX3;H2])[NX3;H2,H1]",
    "geminal_thiol": "[CX4]([OX2,SX2;H1])[SX2;H1]",
    "halohydrin_carbon": "[CX4]([Cl,Br,I])[OX2,SX2,NX3]",
    "fluorohydrin_carbon": "[CX4](F)[$([OX2H]),$([SX2H]),$([NX3;H1,H2])]",
    "carbonic_acid": "[OX2;H1]-[CX3](=[OX1])-[O,N,S]",
    "orthoacid": "[CX4]([OX2])([OX2])[OX2]",
    "sulfur_acid": "[SX3](=O)[OX2;H1]",
    "thiol_acid": "[CX3](=[OX1])[SX2;H1]",
    "thione_acid": "[CX3](=[SX1])[OX2;H1]",
    "phosphine": "[PX3]",
    "phosphorus_hydrogen": "[#15;H1,H2,H3]",
    "borane": "[B;!$([B](~[#8,#7])(~[#8,#7]))]",
    "silicon_bond": "[Si;!$([Si]([#6])([#6])([#6])[#6])]",
    "metalloid_pair": "[B,Si,P]~[B,Si,P]",
    "boric_anhydride": "B-O-B",
    "iodine_alkyl": "[CX4]-[I]",
    "polyhalomethyl": "[CX4]([Cl,Br,I])([Cl,Br,I])[Cl,Br,I]",
    "ring_alkyne": "[#6;r3,r4,r5,r6,r7,r8]#[#6]",
    "cyclobutadiene": "[#6,#7]1=[#6,#7][#6,#7]=[#6,#7]1",
    "cyclopropene": "[#6,#7]1=[#6,#7][#6,#7,#8,#16]1",
    "three_ring_hetero_pair": "[#7,#8,#16;r3]~[#7,#8,#16;r3]",
    "diyne": "C#CC#C",
    "polyene": "[C;!R]=[C;!R][C;!R]=[C;!R][C;!R]=[C;!R][C;!R]=[C;!R]",
    "haloalkyne": "C#C[F,Cl,Br,I]",
    "heteroatom_alkyne": "C#C[#7,#8,#16;!a]",
    "acyclic_n_cyano_n": "[NX3;H2]-C#N",
}
"""Name -> SMARTS of an unstable group."""

CHAINS = {
    "alkyl": "[CH2;R0]" * 8,
    "ethylene_glycol": "[OX2;R0][CH2;R0][CH2;R0]" * 4,
    "perfluoroalkyl": "[CX4;R0](F)(F)" * 4,
    "alkyl_halves": "[CX4;R0]" * 10,
}
"""Name -> SMARTS of a chain that is long for a drug."""

CATALOGS = tuple(
    name
    for name in FilterCatalog.FilterCatalogParams.FilterCatalogs.names
    if name not in ("ALL", "PAINS_A", "PAINS_B", "PAINS_C")
)
"""Lists of alerts that RDKit holds."""


def unstable_groups(molecule: Molecule) -> list[str]:
    """Names of the unstable groups of a valid molecule, in the list's order."""
    return [name for name, smarts in UNSTABLE.items() if has_pattern(molecule, smarts)]


def long_chains(molecule: Molecule) -> list[str]:
    """Names of the long chains of a valid molecule."""
    return [name for name, smarts in CHAINS.items() if has_pattern(molecule, smarts)]


def catalog_alerts(molecule: Molecule, catalog: str) -> int:
    """Number of alerts of one of CATALOGS that a valid molecule has; remembered in its memo."""
    key = f"catalog {catalog}"
    if key not in molecule.memo:
        molecule.memo[key] = len(_catalog(catalog).GetMatches(molecule.mol))
    return int(molecule.memo[key])


@functools.cache
def _catalog(name: str) -> Any:
    parameters = FilterCatalog.FilterCatalogParams()
    parameters.AddCatalog(FilterCatalog.FilterCatalogParams.FilterCatalogs.names[name])
    return FilterCatalog.FilterCatalog(parameters)
