"""What the monitor logs of a batch: shares by hand, diversity against its definition."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl4bio.callbacks.molecule_monitor import MoleculeMonitor, batch_metrics, diversity_metrics
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.reference import read_smiles_file, reference_subset
from rl4bio.chem.states import batch_states
from rl4bio.errors import DataError


def test_shares_by_hand() -> None:
    molecules = [read_smiles(text) for text in ("CCO", "OCC", "C(", "CCN", "")]
    assert batch_states(molecules) == ["valid", "duplicate", "invalid", "valid", "invalid"]
    # 3 of 5 valid; CCO and CCN of three; one of the three was seen.
    metrics = batch_metrics(molecules, ["seen", "duplicate", "invalid", "valid", "invalid"])
    assert metrics == {
        "valid_fraction": 3 / 5,
        "unique_fraction": 2 / 3,
        "seen_fraction": 1 / 3,
    }


def test_nothing_valid_leaves_the_rest_out() -> None:
    molecules = [read_smiles("C("), read_smiles("")]
    assert batch_metrics(molecules, ["invalid", "invalid"]) == {"valid_fraction": 0.0}
    assert diversity_metrics(molecules, [folded_ecfp4(read_smiles("C"))]) == {}


def test_diversity_of_copies_and_of_the_reference_itself() -> None:
    ethanol, benzene = read_smiles("CCO"), read_smiles("c1ccccc1")
    subset = [folded_ecfp4(benzene)]
    # Copies are not diverse; two molecules without a common bit: pairs 1, 0, 0, 1, mean 1/2.
    assert diversity_metrics([ethanol, ethanol], []) == {"intdiv": 0.0}
    found = diversity_metrics([ethanol, benzene], subset)
    assert found["intdiv"] == pytest.approx(0.5)
    assert found["snn"] == pytest.approx(0.5)  # benzene 1, ethanol 0


def test_the_subset_is_fixed_and_bounded(shared_data: Path) -> None:
    smiles = read_smiles_file(shared_data / "smiles" / "moses2_sample.csv.gz")
    assert len(smiles) == 75_000
    subset = reference_subset(smiles, size=50)
    assert [m.text for m in subset] == [m.text for m in reference_subset(smiles, size=50)]
    assert len({smiles.index(m.text) // 7_500 for m in subset}) > 7  # from all over the file
    assert len(reference_subset(["C", "C(", "CC"])) == 2


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.smi", "CCO ethanol\n\nCC\n", ["CCO", "CC"]),
        ("a.txt", "CCO\r\nCC\r\n", ["CCO", "CC"]),
        ("a.csv", "\ufeffname,SMILES\nx, CCO \n", ["CCO"]),
    ],
)
def test_files_of_smiles(tmp_path: Path, name: str, content: str, found: list[str]) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert read_smiles_file(tmp_path / name) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"name,qed\nx,1\n", "no column smiles; it has name, qed"),
        ("a.smi", b"\n\n", "holds no molecule"),
        ("a.smi", b"\xff\xfe", "cannot be read"),
        ("a.smi.gz", b"plain", "cannot be read"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_smiles_file(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_smiles_file(tmp_path / "missing.smi")


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="every: got 0, needs at least 1"):
        MoleculeMonitor(every=0)
