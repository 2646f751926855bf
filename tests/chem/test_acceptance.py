"""Rules by name: what breaks each, and that drugs and training sets keep them."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from rl4bio.chem.acceptance import RULES, Rules, broken_rules, build_rules
from rl4bio.chem.alerts import UNSTABLE, unstable_groups
from rl4bio.chem.patterns import read_smarts
from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ConfigError

DRUGS = {
    "gefitinib": "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
    "osimertinib": "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc1nccc(-c2cn(C)c3ccccc23)n1",
    "lapatinib": "CS(=O)(=O)CCNCc1ccc(-c2ccc3ncnc(Nc4ccc(OCc5cccc(F)c5)c(Cl)c4)c3c2)o1",
    "imatinib": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "vorinostat": "O=C(CCCCCCC(=O)Nc1ccccc1)NO",
    "celecoxib": "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "sildenafil": "CCCc1nn(C)c2c1nc([nH]c2=O)-c1cc(ccc1OCC)S(=O)(=O)N1CCN(C)CC1",
    "nifedipine": "COC(=O)C1=C(C)NC(C)=C(C(=O)OC)C1c1ccccc1[N+](=O)[O-]",
    "atorvastatin": "CC(C)c1c(C(=O)Nc2ccccc2)c(-c2ccccc2)c(-c2ccc(F)cc2)n1CCC(O)CC(O)CC(=O)O",
    "losartan": "CCCCc1nc(Cl)c(CO)n1Cc1ccc(-c2ccccc2-c2nn[nH]n2)cc1",
    "isoniazid": "NNC(=O)c1ccncc1",
    "bortezomib": "CC(C)C[C@H](NC(=O)[C@H](Cc1ccccc1)NC(=O)c1cnccn1)B(O)O",
    "tamiflu": "CCOC(=O)C1=C[C@@H](OC(CC)CC)[C@H](NC(C)=O)[C@@H](N)C1",
    "penicillin G": "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
    "molnupiravir": "CC(C)C(=O)OCC1OC(n2ccc(NO)nc2=O)C(O)C1O",
    "ascorbic acid": "OCC(O)C1OC(=O)C(O)=C1O",
    "betaine": "C[N+](C)(C)CC(=O)[O-]",
    "a tetrazolate": "C[N+](C)(C)CCc1nn[n-]n1",
    "a sulfoximine": "CS(=N)(=O)c1ccccc1",
    "ranitidine": "CNC(=C[N+](=O)[O-])NCCSCc1ccc(CN(C)C)o1",
    "a hydrazone": "O=C(N/N=C/c1ccco1)c1ccncc1",
    "a sulfonimide": "CS(=O)(=O)N(c1cccc(C#N)c1)S(C)(=O)=O",
    "fluorine beside oxygen": "OC(=O)c1ccc(OC(F)F)cc1C(F)(F)C(O)C",
    "tofacitinib": "C[C@@H]1CCN(C(=O)CC#N)C[C@@H]1N(C)c1ncnc2[nH]ccc12",
}
BAD = {
    "radicals": ["CCC[N]", "OC[CH]CN1CCOCC1", "[CH2]Oc1ccccc1", "[C]Oc1ccccc1", "CC[O]", "[CH3]"],
    "valences": [
        "CC[CH-]C",
        "C[O+](C)C",
        "Ic1ccccc1I(C)C",
        "CS(F)(F)(F)(F)F",
        "C[Cl+]C",
        "CS(C)(C)C",
        "CP(C)(C)(C)C",
        "C=S=C",
        "O=S(=O)=NC",
    ],
    "elements": [
        "c1ccccc1[At]",
        "C[Po]",
        "c1ccccc1[Na]",
        "C[Og]",
        "C[Fe]",
        "C[Hg]C",
        "[As]",
        "[U]",
    ],
    "isotopes": ["[13CH3]CO", "[2H]CCO", "[12CH3]O", "C[14C](=O)O"],
    "fragments": ["CCO.O", "CCO.[He]", "CCO.CCO", "CCN.Cl"],
    "charges": [
        "C[C-]=[N+]=C",
        "CC[NH3+]",
        "CC(=O)[O-]",
        "C[N+](C)(C)[B-](C)(C)C",
        "[NH3+]CC([O-])CC[NH3+]",
        "C[NH2+][NH-]",
        "[O-]CC[NH2+]CC[NH2+]CC[O-]",
        "C[N+](C)(C)CC([O-])C",  # no anion beside water: an alkoxide, an amide ion, a thiolate
        "C[N+](C)(C)CC[N-]C",
        "C[N+](C)(C)CC[S-]",
    ],
    "atoms": ["C1CC1" * 30],
    "rings": ["C1CC2CC1CC2" * 6, "C1" + "C" * 21 + "1"],
    "rotatable": ["C(=O)NCC(O)C" * 8],
    "chains": ["C" * 30, "COCCOCCOCCOCCOC", "FC(F)(F)C(F)(F)C(F)(F)C(F)(F)C(F)(F)F"],
    "unstable": [
        "C=C(O)c1ccccc1",  # tautomers that nobody isolates
        "C=C(N)C",
        "CC(=C)S",
        "NC(=N)O",
        "O=COC(=O)c1ccccc1",
        "CC(=O)C(=O)C(C)=O",
        "N#CC(C#N)(C#N)C",
        "COOC",
        "OOOOc1ccccc1",
        "NNNNc1ccccc1",
        "CN(C)N(C)N(C)C",
        "CN(C)OC",
        "CSSC",
        "CNSC",
        "CNCl",
        "COCl",
        "CC(=O)Cl",
        "CN=C=O",
        "C=C=C",
        "CN=[N+]=[N-]",
        "CCON(=O)=O".replace("N(=O)=O", "[N+](=O)[O-]"),
        "CC(=N)C",
        "CC(O)(O)C",
        "CC#CC#CC",
        "C1#CCCCC1",
        "CNO[Si](C)(C)C",
        "CC1=CN=C1",
        "CS(=O)SC",
        "CC(=S)O",
        "CC(F)O",
        "CC(F)NC",
        "CC=NC",
        "COB(C)OB(C)OC",
    ],
}


@pytest.mark.parametrize("name", DRUGS)
def test_drugs_break_no_rule(name: str) -> None:
    assert broken_rules(read_smiles(DRUGS[name])) == ()


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, texts in BAD.items() for t in texts])
def test_each_rule_has_its_name_and_its_switch(rule: str, text: str) -> None:
    molecule = read_smiles(text)
    assert molecule.valid, molecule.reason
    assert rule in broken_rules(molecule)
    off = {
        "elements": {"elements": []},
        "atoms": {"max_atoms": 500},
        "rings": {"max_rings": 99, "max_ring_size": 99},
        "rotatable": {"max_rotatable": 99},
    }.get(rule, {rule: False})
    without = build_rules(off)
    assert without is not None
    assert rule not in broken_rules(molecule, without)


def test_rules_of_ones_own() -> None:
    aldehyde = read_smiles("O=CCc1ccccc1")
    rules = build_rules({"alerts": ["[CX3;H1]=O"], "catalogs": ["BRENK"], "min_atoms": 12})
    assert rules is not None
    assert broken_rules(aldehyde, rules) == ("atoms", "alerts", "catalogs")
    assert broken_rules(aldehyde) == ()


def test_alerts_of_ones_own_match_the_stereochemistry_that_they_spell() -> None:
    rules = Rules(alerts=["C[C@H](N)C(=O)O"])
    assert broken_rules(read_smiles("C[C@H](N)C(=O)O"), rules) == ("alerts",)
    assert broken_rules(read_smiles("C[C@@H](N)C(=O)O"), rules) == ()
    assert broken_rules(read_smiles("C[C@@H](N)C(=O)O"), Rules(alerts=["CC(N)C(=O)O"])) != ()


def test_what_is_no_rule_is_refused() -> None:
    assert build_rules(None) is build_rules("none") is None
    assert build_rules("standard") == Rules()
    with pytest.raises(ConfigError, match=r"rules\.radical: unknown option; did"):
        build_rules({"radical": True})
    with pytest.raises(ConfigError, match=r"catalogs: unknown list 'BRENCK'; did you mean 'BRENK'"):
        build_rules({"catalogs": ["BRENCK"]})
    with pytest.raises(ConfigError, match="elements: 'Xx' is no element"):
        build_rules({"elements": ["C", "Xx"]})
    with pytest.raises(ConfigError, match="is no SMARTS"):
        build_rules({"alerts": ["[C"]})
    with pytest.raises(ValueError, match="needs standard, none, or rules"):
        build_rules("strict")


def test_every_pattern_reads_and_the_order_is_kept() -> None:
    assert all(read_smarts(smarts) for smarts in UNSTABLE.values())
    both = broken_rules(read_smiles("[13CH3]OO[CH2].C"))
    assert both == tuple(name for name in RULES if name in both)
    assert both == ("radicals", "isotopes", "fragments", "unstable")
    assert unstable_groups(read_smiles("COOC")) == ["peroxide"]


def test_molecules_of_a_training_set_keep_the_rules(shared_data: Path) -> None:
    with gzip.open(shared_data / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        rows = list(csv.DictReader(stream))[::150]
    assert not any(broken_rules(read_smiles(row["smiles"])) for row in rows)
