"""Which texts are molecules; what hostile text does to the reader."""

from __future__ import annotations

import ast
import csv
import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from rdkit import Chem

from rl4bio.chem import reading
from rl4bio.chem.reading import read_smiles, remembered

INVALID = {
    "": "empty",
    "   ": "characters",
    "CCO I think this is right": "characters",
    "CCO CCN": "characters",
    "CCO\tname": "characters",
    "CCO\n": "characters",
    " CCO": "characters",
    "CCO |$a;b;c$|": "characters",
    "CCO\x00": "characters",
    "\ufeffCCO": "characters",
    "\u0421CO": "characters",  # a Cyrillic letter that looks like C
    "éCC": "characters",
    "\uff23CO": "characters",  # a full-width C
    "CC\u200b": "characters",
    "\ud800": "characters",  # a lone surrogate cannot even be encoded
    "CCO>>CC=O": "characters",
    "C~C": "characters",
    "C<-N": "valence",  # a dative bond to carbon
    "[C,N]": "characters",
    "CC<": "characters",
    "*": "dummy atom",
    "C[*:1]": "dummy atom",
    "[#0]C": "dummy atom",
    "[H]": "no heavy atom",
    "[H][H]": "no heavy atom",
    "[2H+]": "no heavy atom",
    ".": "syntax",
    "CC.": "syntax",
    "C(": "syntax",
    "C()C": "syntax",
    "c1ccccc": "syntax",
    "C11": "syntax",
    "[nH": "syntax",
    "C[Q]": "syntax",
    "The": "syntax",
    "C(C)(C)(C)(C)C": "valence",
    "[CH5]": "valence",
    "O=N(=O)=O": "valence",
    "c1cccc1": "kekulization",
    "n1cccc1": "kekulization",
    "no": "kekulization",
    "C" * 501: "too many atoms",
    "[nH]" * 500 + "C": "too long",
    "C" * 2001: "too long",
}
VALID = {
    "CCO": "CCO",
    "OCC": "CCO",
    "[CH3:7][CH2:1]O": "CCO",
    "[CH3:1][C@@H](C)O": "CC(C)O",  # the number made it a stereocentre
    "[CH3:1]/C(C)=C/C": "CC=C(C)C",
    "[H]OCC": "CCO",
    "C": "C",
    "c1ccccc1": "c1ccccc1",
    "C1=CC=CC=C1": "c1ccccc1",
    "[Na+].[Cl-]": "[Cl-].[Na+]",
    "F/C=C/F": "F/C=C/F",
    "N[C@@H](C)C(=O)O": "C[C@H](N)C(=O)O",
    "[13CH4]": "[13CH4]",
    "[2H]O[2H]": "[2H]O[2H]",
    "C%10CC%10": "C1CC1",
    "[U]": "[U]",
    "C" * 500: "C" * 500,
}


@pytest.mark.parametrize("text", INVALID, ids=lambda text: ascii(text[:30]))
def test_a_look_alike_is_invalid_for_its_reason(text: str) -> None:
    molecule = read_smiles(text)
    assert (molecule.valid, molecule.reason) == (False, INVALID[text])
    assert (molecule.text, molecule.canonical, molecule.mol) == (text, "", None)


@pytest.mark.parametrize("text", VALID, ids=lambda text: ascii(text[:30]))
def test_a_molecule_is_valid_and_canonical(text: str) -> None:
    molecule = read_smiles(text)
    assert (molecule.valid, molecule.reason, molecule.canonical) == (True, "", VALID[text])


def test_the_options_move_the_verdict() -> None:
    assert read_smiles("C*", allow_dummies=True).canonical == "*C"
    assert read_smiles("*", allow_dummies=True).reason == "no heavy atom"
    assert read_smiles("CCCC", max_characters=3).reason == "too long"
    assert read_smiles("CCC", max_characters=3).valid
    assert read_smiles("CCCC", max_heavy_atoms=3).reason == "too many atoms"
    assert read_smiles("CCC[H]", max_heavy_atoms=3).valid
    assert read_smiles("**C[*]", max_heavy_atoms=3, allow_dummies=True).reason == "too many atoms"
    assert read_smiles("[#6]CCC", max_heavy_atoms=3).reason == "too many atoms"


def test_the_count_before_parsing_is_that_of_rdkit(shared_data: Path) -> None:
    with gzip.open(shared_data / "smiles" / "zinc250k.csv.gz", "rt") as stream:
        texts = [row["smiles"] for row in csv.DictReader(stream)][::500]
    for text in [*texts, "[H]OC([2H])[3H]", "[Hg+].[He]", "[nH]1cccc1Br"]:
        expected = Chem.MolFromSmiles(text).GetNumHeavyAtoms()
        assert len(reading._HEAVY_ATOM.findall(text)) == expected, text


def test_one_reading_and_one_memo() -> None:
    first = read_smiles("OCCN")
    assert read_smiles("OCCN") is first
    other = read_smiles("NCCO")
    assert other is not first
    assert other.memo is first.memo
    assert read_smiles("NCCOC").memo is not first.memo


def test_a_remembered_function_runs_once_a_molecule_and_refuses_text() -> None:
    calls = []

    @remembered
    def atoms(molecule: reading.Molecule) -> int:
        calls.append(molecule.text)
        return molecule.mol.GetNumAtoms()

    assert [atoms(read_smiles(text)) for text in ("CCOS", "SOCC", "CCOS")] == [4, 4, 4]
    assert calls == ["CCOS"]
    with pytest.raises(ValueError, match=r"atoms: 'c1' is no molecule \(syntax\)"):
        atoms(read_smiles("c1"))


@pytest.mark.slow
def test_real_molecules_are_read_as_rdkit_reads_them(shared_data: Path) -> None:
    texts: list[str] = []
    for name in ("moses2_sample", "zinc250k"):
        with gzip.open(shared_data / "smiles" / f"{name}.csv.gz", "rt") as stream:
            rows = [row["smiles"] for row in csv.DictReader(stream)]
        texts += rows[:: len(rows) // 2000]
    assert len(texts) > 4000
    for text in texts:
        molecule = read_smiles(text)
        assert molecule.canonical == Chem.MolToSmiles(Chem.MolFromSmiles(text))
        again = read_smiles(molecule.canonical)
        assert (again.valid, again.canonical) == (True, molecule.canonical)


HOSTILE = r"""
import random, sys, time
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.properties import logp, qed, sa, scaffold

rng = random.Random(0)
alphabet = "CNOPSFIBclnops[]()=#$:/\\+-.%@*0123456789H"
texts = [character * 100_000 for character in "()[]C%1=#.@*\n\x00\u0421"]
texts += ["C" * n for n in (499, 500, 501, 1999, 2000, 2001, 1_000_000)]
texts += ["C1" + "C" * 498 + "C1", "C%99" + "C" * 498 + "C%99", "C%(99999)CC%(99999)"]
texts += ["C(" * n + "C" + ")" * n for n in (100, 499, 660, 50_000)]
texts += ["(" * 1999, "[" * 1999, "[" * 1000 + "]" * 1000, "C1" * 1000, "[H]" * 666]
texts += ["[%dC]" % 10**n for n in range(1, 30)] + ["[C:%d]" % 10**n for n in range(1, 30)]
texts += ["[CH%d]" % 10**n for n in range(10)] + ["[C+%d]" % 10**n for n in range(10)]
texts += ["[C@TH%d]" % n for n in range(9)] + ["[Fe@OH%d](C)(C)(C)(C)(C)C" % n for n in range(40)]
texts += ["".join("C%%%02d" % n for n in range(10, 100)) * 5, "[#%d]" * 3, "[#119]", "[Uuo]"]
texts += ["c1ccccc1" * 62, "c1ccc2ccccc2c1" * 35, "C1CC1" * 166, "N[C@@H](C)C(=O)" * 100]
texts += ["C12C3C4C1C5C2C3C45" * 62, "[Cu]" * 400, "[2H]C" * 300, "S(=O)(=O)" * 200]
texts += ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 300))) for _ in range(500)]
any_character = lambda: chr(rng.randrange(0x110000))
texts += ["".join(any_character() for _ in range(rng.randint(1, 60))) for _ in range(250)]
texts += [rng.choice(alphabet) + "C" * 100_000 + chr(rng.randrange(0x3000)) for _ in range(40)]
texts += ["".join(rng.choice("CNO()=1") for _ in range(1990)) for _ in range(60)]
texts += ["\x1b[31mCCO", "CCO\r\n[12:00:00] forged", "=cmd|' /C calc'!A0", "<script>"]
assert len(texts) >= 1000, len(texts)
slowest, verdicts = 0.0, set()
for text in texts:
    start = time.thread_time()
    molecule = read_smiles(text)
    if molecule.valid:
        qed(molecule), sa(molecule), logp(molecule), scaffold(molecule)
    slowest = max(slowest, time.thread_time() - start)
    verdicts.add(molecule.reason)
print(len(texts), slowest, sorted(verdicts))
"""


def test_hostile_text_neither_hangs_nor_floods_the_log() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    _, slowest, verdicts = done.stdout.split(maxsplit=2)
    assert float(slowest) < 30  # a hang, not a speed: each takes milliseconds
    expected = {"too long", "too many atoms", "characters", "syntax", "valence", "kekulization"}
    assert expected <= set(ast.literal_eval(verdicts))
