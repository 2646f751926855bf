"""A look at training molecules: what is no molecule, what is SELFIES, and copies across splits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from rl4bio.data.smiles import SmilesCorpus
from rl4bio.errors import DataError

GOOD = [f"{'C' * n}c1ccccc1" for n in range(1, 21)]
KEKULE = [f"{'C' * n}C1=CC=CC=C1" for n in range(1, 21)]


def corpus(folder: Path, rows: list[str], header: str = "smiles", **options: Any) -> SmilesCorpus:
    path = folder / "m.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return SmilesCorpus(source=str(path), batch_size=1, **options)


def written(made: SmilesCorpus, split: Any) -> set[str]:
    return {str(sample.reference) for sample in made.samples(split)}


def test_strings_that_were_cut_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*GOOD, "CCc1ccc", "CC(C"]
    with caplog.at_level(logging.WARNING, logger="rl4bio"):
        written(corpus(tmp_path, rows), "train")
    assert "2 of 22 rows (9%) are no molecules: 2 syntax; such as line 22" in caplog.text
    dropped = corpus(tmp_path, rows, bad_rows="drop", val_fraction=0, test_fraction=0)
    assert written(dropped, "train") == set(GOOD)


def test_a_file_of_mostly_none_is_refused(tmp_path: Path) -> None:
    rows = [*GOOD[:4], *(text[:-1] for text in GOOD)]
    with pytest.raises(DataError, match=r"20 of 24 rows \(83%\) are no molecules.*bad_rows"):
        corpus(tmp_path, rows).samples("train")
    kept = corpus(tmp_path, rows, bad_rows="keep", val_fraction=0, test_fraction=0)
    assert len(kept.samples("train")) == 24


@pytest.mark.parametrize("telling", ["[C][C][Branch1][C][C][O]", "[C][O]"])
def test_selfies_are_no_smiles(telling: str, tmp_path: Path) -> None:
    rows = ["[C][C][O]", telling, "[C][N][C]"]
    with pytest.raises(DataError, match=r"3 of 3 rows are SELFIES.*decode them first"):
        corpus(tmp_path, rows).samples("train")


def test_empty_cells_are_no_molecules(tmp_path: Path) -> None:
    made = corpus(tmp_path, [*GOOD, "nan", "N/A", "None"], val_fraction=0, test_fraction=0)
    assert len(made.samples("train")) == len(GOOD)


def test_spellings_and_salts_of_a_molecule_are_in_one_split(tmp_path: Path) -> None:
    salts = [f"{text}.Cl" for text in GOOD]
    made = corpus(tmp_path, [*GOOD, *KEKULE, *salts], test_fraction=0.3)
    sides = [written(made, split) for split in ("train", "val", "test")]
    assert sum(map(len, sides)) == 60
    for plain, kekule, salt in zip(GOOD, KEKULE, salts, strict=True):
        assert any({plain, kekule, salt} <= side for side in sides)


def test_a_split_of_the_file_that_leaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*(f"{text},train" for text in GOOD), f"{KEKULE[0]},test", "CCO,test"]
    with pytest.raises(DataError, match="1 molecules are in two of its splits, such as Cc1ccccc1"):
        corpus(tmp_path, rows, "smiles,split").samples("train")
    dropped = corpus(tmp_path, rows, "smiles,split", leaks="drop")
    assert written(dropped, "train") == set(GOOD[1:])
    kept = corpus(tmp_path, rows, "smiles,split", leaks="keep")
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        assert len(kept.samples("train")) == 20
    assert "train 20 rows, 20 parents; test 2 rows, 2 parents (1 in train)" in caplog.text
