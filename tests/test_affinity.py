"""`rl4bio affinity`: tables in, predictors out, refusals in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rl4bio.__main__ import main as rl4bio
from rl4bio.chem.reading import read_smiles
from rl4bio.predictors.storage import read_predictor
from rl4bio.rewards.molecules.affinity import AffinityReward

pytest.importorskip("lightgbm")
pytestmark = pytest.mark.usefixtures("no_traces")

FILES = {"predictor.json", "trees.safetensors", "README.md", "report.json"}
ENDS = ("O", "N", "F", "Cl", "c1ccccc1", "c1ccncc1", "C(=O)O", "C(=O)N")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """120 molecules whose value grows with the chain and with a ring, so there is much to learn."""
    rows = ["smiles,pic50,ic50_nm"]
    for k in range(1, 16):
        for end in ENDS:
            value = 4 + 0.1 * k + 2 * ("1" in end)
            rows.append(f"{'C' * k}{end},{value:.3f},{10 ** (9 - value):.6g}")
    path = tmp_path / "small.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def command(table: Path, *more: str, data: str = "") -> list[str]:
    place = ["--label", "pic50", "--output", str(table.parent / "out"), "--members", "2"]
    return ["affinity", "--data", data or f"small={table}", *place, *more]


def test_it_learns_writes_and_reports(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rl4bio(command(table, "--seeds", "2", "--source", "Made up here.")) == 0
    folder = table.parent / "out"
    assert {path.name for path in folder.iterdir()} == FILES
    printed = capsys.readouterr().out
    assert "small: 120 rows, 120 molecules" in printed
    assert "| random | " in printed
    report = json.loads((folder / "report.json").read_text())["small"]
    assert report["summary"]["random"]["r2"]["mean"] > 0.8  # the constant's is 0 at most
    assert len(report["splits"]) == 4
    card = (folder / "README.md").read_text()
    assert "Made up here." in card
    assert re.search(r"\| small \| random \| 0\.[89]\d\d \(", card)
    target = read_predictor(folder).targets["small"]
    short, ring = target.predict([read_smiles("CCO"), read_smiles("C" * 14 + "c1ccccc1")])
    assert short.affinity < 5.2 < 6.5 < ring.affinity
    # What the command prints as the way to use it is one.
    reward = AffinityReward(predictor=str(folder))
    reward.prepare()
    assert f"{{predictor: {folder}}}" in printed


def test_two_targets_another_unit_and_the_same_numbers_again(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = ["--label", "ic50_nm", "--unit", "nM", "--seeds", "0"]
    arguments = command(table, "--data", f"other={table}", *label)
    assert rl4bio(arguments) == 0
    folder = table.parent / "out"
    first = (folder / "trees.safetensors").read_bytes()
    assert "target: small}" in capsys.readouterr().out
    assert "Not measured" in (folder / "README.md").read_text()
    targets = read_predictor(folder).targets
    assert list(targets) == ["small", "other"]
    assert targets["small"].unit == "-log10(ic50_nm in mol/l)"
    assert (targets["small"].low, targets["small"].high) == pytest.approx((4.1, 7.5), abs=1e-4)
    assert rl4bio(arguments) == 7  # the folder is there
    assert rl4bio([*arguments, "--force"]) == 0
    assert (folder / "trees.safetensors").read_bytes() == first


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> str:
    assert rl4bio(arguments) == code
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--data", "small=b.csv"], 2, "'small' is given twice"),
        (["--data", "b.csv"], 2, "--data: b.csv has no name; write --data egfr=b.csv or --target"),
        (["--data", "a b=b.csv"], 2, "--data: the name 'a b'"),
        (["--target", "egfr"], 2, "--target: 'egfr', but --data names small"),
        (["--seeds", "-1"], 2, "--seeds: got -1"),
        (["--members", "0"], 2, "--members: got 0"),
        (["--unit", "ng"], 2, "argument --unit: invalid choice"),
        (["--label", "pkd"], 3, r"has no column 'pkd' \(--label\)"),
        (["--label", "ic50_nm", "--unit", "p"], 3, "is --unit p right"),
        (["--data", "other=none.csv"], 3, "none.csv: cannot be read"),
    ],
)
def test_what_is_refused(
    more: list[str], code: int, message: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(message, refused(capsys, command(table, *more), code))
    assert not (table.parent / "out").exists()


def test_a_folder_that_is_none_of_ours_is_not_replaced(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (table.parent / "out").mkdir()
    (table.parent / "out/mine.txt").write_text("mine")
    assert "has no predictor.json" in refused(capsys, command(table, "--force"), 7)
    assert (table.parent / "out/mine.txt").exists()


def test_a_real_slice(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (shared_data / "affinity/bace_pic50.csv").read_text().splitlines(keepends=True)
    (tmp_path / "bace.csv").write_text("".join([lines[0], *lines[1::5]]))
    data = ["--data", str(tmp_path / "bace.csv"), "--target", "bace", "--label", "pic50"]
    place = ["--output", str(tmp_path / "out"), "--members", "1", "--seeds", "1"]
    assert rl4bio(["affinity", *data, *place]) == 0
    summary = json.loads((tmp_path / "out/report.json").read_text())["bace"]["summary"]
    # A fifth of the molecules is learnt from less well; a constant reaches 0.
    assert summary["random"]["r2"]["mean"] > 0.3
    assert summary["random"]["mae"]["mean"] < summary["random"]["constant_mae"]["mean"]
