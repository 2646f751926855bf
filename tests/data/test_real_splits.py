"""No molecule of a real table is on two sides, whatever the table and the kind of split."""

from __future__ import annotations

import csv
import functools
import gzip
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from rl4bio.chem.fragments import has_metal
from rl4bio.chem.identity import parent_scaffold, same_name
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.splits import split_groups
from rl4bio.data.smiles import SmilesCorpus
from rl4bio.data.therapeutics import TherapeuticsCorpus

TABLES = {
    "tdc/bbbp.csv": ("y", "option"),
    "tdc/clintox.csv": ("ct_tox", "option"),
    "tdc/esol.csv": ("y", "bin"),
    "tdc/freesolv.csv": ("y", "bin"),
    "tdc/lipophilicity.csv": ("y", "bin"),
    "tdc/solubility_aqsoldb.csv.gz": ("y", "bin"),
    "tdc/tox21.csv.gz": ("nr_ahr", "option"),
    "affinity/bace_pic50.csv": ("pic50", "bin"),
    "affinity/egfr_pic50.csv": ("pic50", "bin"),
}
TASKS = {"option": "BBB_Martins", "bin": "Solubility_AqSolDB"}
ROWS = 120
"""Of each table: neighbours in the order of their SMILES, where spellings and salts stand together;
every tenth comes once more as its hydrochloride, so that a split that reads texts would part it."""


@functools.cache
def sample(path: Path, label: str) -> list[tuple[str, str]]:
    """SMILES and label of a few rows of a table."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        rows = sorted((row["smiles"], row[label]) for row in csv.DictReader(stream) if row[label])
    start = max(0, len(rows) // 2 - ROWS // 2)
    kept = rows[start : start + ROWS]
    return [*kept, *((f"{text}.Cl", value) for text, value in kept[::10])]


def written(folder: Path, rows: Sequence[tuple[str, str]], marks: Sequence[str] = ()) -> str:
    path = folder / "t.csv"
    lines = [f"{text},{value}" for text, value in rows]
    header = "smiles,y"
    if marks:
        header, lines = header + ",split", list(map(",".join, zip(lines, marks, strict=True)))
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


@functools.cache
def names(text: str) -> tuple[str, str, str]:
    """Ours, its scaffold, and that of RDKit's own standardiser ("" of metals and inorganics)."""
    molecule = read_smiles(text, allow_dummies=True)
    own, core = same_name(molecule, stereo=False), parent_scaffold(molecule)
    if has_metal(molecule.mol):
        return own, core, ""
    with rdBase.BlockLogs():
        mol = rdMolStandardize.FragmentParent(molecule.mol)
        mol = rdMolStandardize.Uncharger().uncharge(mol)
        return own, core, str(Chem.MolToSmiles(mol, isomericSmiles=False))


def check(sides: Sequence[Sequence[str]], *, scaffolds: bool = False) -> None:
    """No name is on two sides, and there is something on each of them."""
    assert all(sides), list(map(len, sides))
    for place in (0, 2, *((1,) if scaffolds else ())):
        groups = [{names(text)[place] for text in side} - {""} for side in sides]
        for one, other in itertools.combinations(groups, 2):
            assert not one & other


def inputs(made: TherapeuticsCorpus) -> list[list[str]]:
    return [[s.extra["input"] for s in made.samples(part)] for part in ("train", "val", "test")]


@pytest.mark.parametrize("name", TABLES)
def test_no_molecule_is_on_two_sides(name: str, shared_data: Path, tmp_path: Path) -> None:
    label, kind = TABLES[name]
    rows = sample(shared_data / name, label)
    shares = {"batch_size": 1, "val_fraction": 0.15, "test_fraction": 0.2}
    task = {"task": TASKS[kind], "source": written(tmp_path, rows)}
    for split in ("random", "scaffold"):
        made = TherapeuticsCorpus(tasks=[task], split=split, **shares)
        check(inputs(made), scaffolds=split == "scaffold")
        molecules = [read_smiles(text) for text, _ in rows if read_smiles(text).valid]
        parts = split_groups(molecules, [0.15, 0.2], kind=split, seed=3)
        check([[molecules[row].text for row in part] for part in parts])
    corpus = SmilesCorpus(source=task["source"], unknown_tokens="drop", **shares)
    check([[s.reference for s in corpus.samples(part)] for part in ("train", "val", "test")])
    # A split that the table marks, with the salts in another part than their bases.
    marks = [("train", "val", "test")[n % 3] for n in range(len(rows))]
    given = {**task, "source": written(tmp_path, rows, marks), "split": "given"}
    train, val, test = inputs(TherapeuticsCorpus(tasks=[given], leaks="drop", batch_size=1))
    check([train, [*val, *test]])
