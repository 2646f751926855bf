"""What the monitor logs of a batch: shares by hand, diversity against its definition."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from rl4bio.callbacks.loggers.build import MetricsCSV
from rl4bio.callbacks.molecule_monitor import MoleculeMonitor, batch_metrics
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.reading import read_smiles
from rl4bio.chem.reference import reference_subset
from rl4bio.chem.tables import read_smiles_column
from rl4bio.errors import DataError


def test_numbers_by_hand() -> None:
    molecules = [read_smiles(text) for text in ("CCO", "OCC", "C(", "c1ccccc1", "")]
    # 3 of 5 valid; ethanol twice and benzene, which share no bit: of the 9 ordered pairs 5 are
    # equal, so IntDiv is 1 - 5/9. To benzene alone the similarities are 0, 0 and 1.
    metrics = batch_metrics(molecules, [folded_ecfp4(read_smiles("C1=CC=CC=C1"))])
    assert metrics == pytest.approx(
        {"valid_fraction": 3 / 5, "unique_fraction": 2 / 3, "intdiv": 4 / 9, "snn": 1 / 3}
    )


def test_what_is_undefined_is_left_out() -> None:
    molecules = [read_smiles("C("), read_smiles("")]
    assert batch_metrics(molecules, [folded_ecfp4(read_smiles("C"))]) == {"valid_fraction": 0.0}
    assert "snn" not in batch_metrics([read_smiles("C")], [])


class Steps(MoleculeMonitor):
    """Gives every batch the molecules that the test wants."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        trainer, module, outputs, *_ = arguments
        outputs["rollout"].completions = ["CCO", "CCO", "c1ccccc1", "C("]
        super().on_train_batch_end(trainer, module, outputs, None, 0)


def test_logged_at_the_first_step_and_every_so_often(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    (tmp_path / "reference.smi").write_text("CCO\n")
    monitor = Steps(reference=str(tmp_path / "reference.smi"), every=3)
    run_steps([monitor], steps=7, loggers=[MetricsCSV(tmp_path / "metrics.csv")])
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == [str(k) for k in range(1, 8)]
    logged = [row["step"] for row in rows if row["molecules/snn"]]
    assert logged == ["1", "3", "6"]
    assert float(rows[2]["molecules/snn"]) == pytest.approx(2 / 3)
    assert float(rows[2]["molecules/valid_fraction"]) == 0.75
    assert rows[2]["train/kl"]  # the step's own numbers join the row


def test_the_subset_is_fixed_and_bounded(shared_data: Path) -> None:
    path = shared_data / "smiles" / "moses2_sample.csv.gz"
    smiles = [text for _, text in read_smiles_column(path, option="", column_option="")]
    assert len(smiles) == 75_000
    subset = reference_subset(smiles, size=50)
    assert [m.text for m in subset] == [m.text for m in reference_subset(smiles, size=50)]
    assert len({smiles.index(m.text) // 7_500 for m in subset}) > 7  # from all over the file
    assert len(reference_subset(["C", "C(", "CC"])) == 2


def test_a_reference_that_cannot_be_read(
    run_steps: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    for name, content, message in (
        ("a.csv", "name,qed\nx,1\n", r"no column 'smiles' \(molecule_monitor's reference\)"),
        ("a.smi", "", "the file is empty"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=message):
            run_steps([MoleculeMonitor(reference=str(tmp_path / name))], steps=1)


def test_wrong_option() -> None:
    with pytest.raises(ValueError, match="every: got 0, needs at least 1"):
        MoleculeMonitor(every=0)
