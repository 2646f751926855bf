"""rl4bio.reports.run.shown_molecules: what the page shows, as files."""

from __future__ import annotations

import csv
from pathlib import Path

from rdkit import Chem

from rl4bio.reports.run.shown_molecules import write_shown

HEAD = "step,smiles,canonical,state,total,reward_qed,raw_qed,logprob_policy,logprob_prior"


def test_every_shown_molecule_once_with_its_numbers(tmp_path: Path) -> None:
    rows = [
        "1,CCO,CCO,valid,0.4,0.4,0.4,-1,-1",
        "1,C(,,invalid,0.0,0.0,,-1,-1",
        "2,OCC,CCO,duplicate,0.4,0.4,0.4,-1,-1",
        "2,CCN,CCN,valid,0.9,0.9,0.9,-1,-1",
    ]
    (tmp_path / "molecules.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    write_shown(tmp_path, tmp_path / "molecules.csv")
    with (tmp_path / "shown.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["canonical"] for row in table] == ["CCN", "CCO"]  # by reward
    supplier = Chem.SDMolSupplier(str(tmp_path / "shown.sdf"))
    assert [(m.GetProp("_Name"), m.GetProp("raw_qed")) for m in supplier] == [
        ("CCN", "0.9"),
        ("CCO", "0.4"),
    ]


def test_a_run_without_a_molecule_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "molecules.csv").write_text(f"{HEAD}\n1,C(,,invalid,0.0,0.0,,-1,-1\n")
    write_shown(tmp_path, tmp_path / "molecules.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["molecules.csv"]
