"""The notes of molecules, and the line of boosted trees on the corpus's own split."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from rdkit import Chem

from experiments.real_bbbp.study import line, note, write_notes
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus

ETHANOL = "Weight 46, logP -0.0, polar surface 20, donors 1, acceptors 1, rings 0."


def test_a_note_says_what_rdkit_computes() -> None:
    assert note(Chem.MolFromSmiles("CCO")) == ETHANOL
    benzene = note(Chem.MolFromSmiles("c1ccccc1"))
    assert benzene.endswith("polar surface 0, donors 0, acceptors 0, rings 1.")


def test_the_table_has_what_rdkit_reads_and_can_be_imitated(tmp_path: Path) -> None:
    given, made = tmp_path / "bbbp.csv", tmp_path / "notes.csv"
    rows = [(f"OC{'C' * n}", n % 2, "x") for n in range(40)]
    with given.open("w", newline="") as stream:
        csv.writer(stream).writerows([("smiles", "y", "name"), *rows, ("C1CC", 1, "no molecule")])
    write_notes(given, made)
    task = {"task": "BBB_Martins", "source": str(made), "reasoning": "reasoning"}
    train = TherapeuticsCorpus(tasks=[task], test_fraction=0.1).samples("train")
    assert f'\nOCC,1,"{ETHANOL}"\n' in made.read_text()
    assert len(made.read_text().splitlines()) == 41
    for sample in train:
        assert f"</reasoning><answer>({sample.target})</answer>" in sample.demonstration
        assert sample.demonstration.startswith("<reasoning>Weight ")


def test_the_line_is_measured_on_the_molecules_of_the_runs(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightgbm")
    notes = tmp_path / "notes.csv"
    write_notes(shared_data / "tdc" / "bbbp.csv", notes)
    line(notes)
    assert "AUROC" in capsys.readouterr().out
