"""rl4bio.reports.run.molecules: which molecules of a run are shown, and from which rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.errors import StorageError
from rl4bio.reports.run.molecules import LISTED, molecule_sections, read_run_molecules
from rl4bio.reports.run.report import run_report

HEADER = "step,smiles,canonical,state,total,reward_qed,raw_qed,logprob_policy,logprob_prior"
LINES = [
    "1,CCO,CCO,valid,0.4,0.4,0.4,-5,-5",
    "1,OCC,CCO,duplicate,0,0.4,0.4,-6,-6",
    "1,C(,,invalid,0,0,,-7,-7",
    "2,CCC,CCC,valid,0.9,0.9,0.9,-5,",
    "3,CCN,CCN,valid,0.6,0.6,0.6,-5,",
    "3,CCO,CCO,seen,0,0.4,0.4,-5,",
    "3,CCS,CCS,valid,,,,-5,",
]


def sections_of(path: Path) -> list[str]:
    return molecule_sections(read_run_molecules(path))


def table(folder: Path, lines: list[str] = LINES) -> Path:
    path = folder / "molecules.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def test_first_last_and_top(tmp_path: Path) -> None:
    found = read_run_molecules(table(tmp_path))
    assert [row["smiles"] for row in found.first] == ["CCO", "OCC", "C("]
    assert [row["smiles"] for row in found.last] == ["CCN", "CCO", "CCS"]
    # Each molecule once, with the reward of its first copy; what has no reward comes last.
    assert [(r["canonical"], r["total"]) for r in found.top] == [
        ("CCC", "0.9"),
        ("CCN", "0.6"),
        ("CCO", "0.4"),
        ("CCS", ""),
    ]
    assert (found.num_rows, len(found.distinct)) == (7, 4)


def test_sections(tmp_path: Path) -> None:
    first, last, heading, top = sections_of(table(tmp_path))
    assert "<h3>Step 1: 3 completions (1 valid, 1 duplicate, 1 invalid)</h3>" in first
    assert "<h3>Step 3: 3 completions (2 valid, 1 seen)</h3>" in last
    # The best once a molecule, the random ones as they were written: 1 + 2 in step 1.
    assert first.count("<figure") == 3
    assert "The best 4 of 4 different molecules in 7 recorded completions" in heading
    assert "<td>CCC</td><td>0.900</td>" in top


def test_one_step_is_shown_once_and_the_table_is_bounded(tmp_path: Path) -> None:
    lines = [f"1,{'C' * k},{'C' * k},valid,0.{k},0,0,-1,-1" for k in range(1, LISTED + 30)]
    sections = sections_of(table(tmp_path, lines))
    assert len(sections) == 3
    assert sections[-1].count("<tr>") == LISTED + 1


def test_nothing_recorded_and_nothing_valid(tmp_path: Path) -> None:
    assert "No molecules were recorded" in sections_of(table(tmp_path, []))[0]
    only_invalid = sections_of(table(tmp_path, ["1,C(,,invalid,0,0,,-7,-7"]))
    assert "None of them is a molecule." in only_invalid[0]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1,2\n", b"step,canonical,total\n1,C,x\n"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "molecules.csv"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"molecules\.csv: cannot be read"):
        sections_of(path)


COMBINED = (
    "step,smiles,canonical,state,total,reward_combined,raw_combined.affinity,"
    "raw_combined.affinity_similarity,raw_combined.affinity_score,raw_combined.sa,"
    "raw_combined.sa_score,logprob_policy,logprob_prior"
)
TWO_OBJECTIVES = [
    "1,CCO,CCO,valid,0.3,0.3,5,0.2,0.3,1.5,0.9,-5,-5",
    "1,CCN,CCN,valid,0.3,0.3,6,0.3,0.4,3,0.8,-5,-5",
    "1,C(,,invalid,0,0,,,0,,0,-5,-5",
    "2,CCC,CCC,valid,0.9,0.9,8,0.6,0.9,4,0.7,-5,-5",
    "3,CCO,CCO,seen,0,0.3,5,0.2,0.3,1.5,0.9,-5,-5",
    "3,CCS,CCS,valid,0.5,0.5,5.5,0.5,0.5,3.5,0.7,-5,-5",
]


def test_two_objectives_have_a_picture_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "molecules.csv"
    path.write_text("\n".join([COMBINED, *TWO_OBJECTIVES]) + "\n", encoding="utf-8")
    *_, picture, best, top = sections_of(path)
    # CCS is worse than CCN in both; each of the others is the best in one or between the two.
    assert "3 molecules on the front" in picture
    front = [row.split("</td>") for row in picture.split("<tr>")[2:]]
    cells = [[cell.rpartition(">")[2] for cell in row[:-1]] for row in front]
    assert cells == [
        ["CCC", "8", "4", "2", "0.600"],
        ["CCN", "6", "3", "1", "0.300"],
        ["CCO", "5", "1.5", "1", "0.200"],
    ]
    assert "step 1" in picture
    assert "step 3" in picture
    header = top.split("</thead>")[0]
    assert "<th" in header
    assert "affinity similarity" in header
    assert "affinity_score" not in header
    assert "<td>CCC</td><td>0.900</td><td>0.900</td><td>8.000</td><td>0.600</td><td>4.000" in top
    assert best.count("<figure") == 4
    assert "SA 4.000" not in best  # it stands there with one decimal already


def test_a_reward_that_is_its_raw_value_has_one_column(tmp_path: Path) -> None:
    top = sections_of(table(tmp_path))[-1]
    assert "QED" not in top
    other = [line.replace(",0.9,0.9,0.9,", ",0.9,0.9,0.7,") for line in LINES]
    assert "QED" in sections_of(table(tmp_path, other))[-1]


def page(folder: Path, molecules: Path | None) -> str:
    return run_report(
        title="t",
        config={"rewards": [{"name": "qed"}]},
        summary={"task": "grpo", "base": "b", "steps": 1, "seed": 1, "seconds": 1.0},
        metrics=[],
        completions=folder,
        molecules=molecules,
    )


def test_the_report_shows_molecules_where_a_run_wrote_them(tmp_path: Path) -> None:
    shown = page(tmp_path, table(tmp_path))
    assert "<h2>Molecules</h2>" in shown
    assert "Sample completions" not in shown
    assert ".molecule {" in shown
    hostile = [line.replace("C(", '"<script>alert(1)</script>"') for line in LINES]
    attacked = page(tmp_path, table(tmp_path, hostile))
    assert "<script>alert" not in attacked
    assert attacked.count("<script") == 1  # that of the tables
    other = page(tmp_path, tmp_path / "missing.csv")
    assert "Sample completions" in other
    assert ".molecule {" not in other
