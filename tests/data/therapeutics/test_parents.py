"""Salts on one side of every split, splits that leak, and numbers over many powers of ten."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest

from rl4bio.chem.identity import parent, parent_scaffold
from rl4bio.chem.reading import read_smiles
from rl4bio.data.therapeutics import TherapeuticsCorpus
from rl4bio.errors import ConfigError, DataError

RINGS = [
    "c1ccccc1",
    "c1ccncc1",
    "C1CCNCC1",
    "c1ccoc1",
    "c1ccsc1",
    "C1CCCC1",
    "C1CCOCC1",
    "c1cnccn1",
]
DRUGS = [f"CC{'C' * n}N{ring}" for ring in RINGS for n in range(4)]
SALTS = [f"{drug}.{acid}" for drug in DRUGS for acid in ("Cl", "O=S(=O)(O)c1ccccc1")]


def corpus(
    folder: Path, rows: list[str], header: str = "smiles,y", **entry: Any
) -> TherapeuticsCorpus:
    path = folder / "t.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    options = {key: entry.pop(key) for key in ("split", "leaks") if key in entry}
    task = {"task": "Solubility_AqSolDB", "source": str(path), **entry}
    return TherapeuticsCorpus(tasks=[task], batch_size=1, test_fraction=0.3, **options)


def sides(made: TherapeuticsCorpus) -> list[list[str]]:
    return [[s.extra["input"] for s in made.samples(part)] for part in ("train", "val", "test")]


@pytest.mark.parametrize("split", ["random", "scaffold"])
def test_no_parent_is_on_two_sides(split: str, tmp_path: Path) -> None:
    rows = [f"{text},{number}" for number, text in enumerate([*DRUGS, *SALTS])]
    found = sides(corpus(tmp_path, rows, split=split))
    assert sum(map(len, found)) == len(rows)
    name = parent_scaffold if split == "scaffold" else parent
    groups = [{name(read_smiles(text)) for text in side} for side in found]
    assert len(set().union(*groups)) == sum(map(len, groups))
    assert all(groups[k] for k in (0, 2))


def test_a_given_split_that_leaks(tmp_path: Path) -> None:
    train_rows = [f"{text},{n},train" for n, text in enumerate(DRUGS)]
    rows = [*train_rows, f"{DRUGS[0]}.Cl,1,test", "CCO,2,test"]
    header = "smiles,y,split"
    with pytest.raises(DataError, match=r"1 molecules are in two of its splits.*options\.leaks"):
        corpus(tmp_path, rows, header, split="given").samples("train")
    train, _, test = sides(corpus(tmp_path, rows, header, split="given", leaks="drop"))
    assert DRUGS[0] not in train
    assert len(test) == 2
    assert DRUGS[0] in sides(corpus(tmp_path, rows, header, split="given", leaks="keep"))[0]


def test_numbers_over_many_powers_of_ten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [f"{text},{10 ** (n / 4)}" for n, text in enumerate(DRUGS)]
    with caplog.at_level(logging.WARNING, logger="rl4bio"):
        corpus(tmp_path, rows).samples("train")
    assert "bins on a linear scale say little" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="rl4bio"):
        logs = corpus(tmp_path, rows, scale="log10").samples("train")
        amounts = corpus(tmp_path, rows, unit="nM").samples("train")
    assert not caplog.messages
    for log, amount in zip(logs, amounts, strict=True):
        assert amount.extra["label"] == pytest.approx(9 - log.extra["label"])
        number = DRUGS.index(log.extra["input"])
        assert log.extra["label"] == pytest.approx(number / 4)


def test_units_of_a_column_and_repeated_measurements(tmp_path: Path) -> None:
    header = "smiles,y,units"
    rows = [*(f"{text},{n + 1},nM" for n, text in enumerate(DRUGS)), "CCO,1,uM", "OCC,1100,nM"]
    with pytest.raises(DataError, match=r"the units nM \(33 rows\), uM \(1 rows\); set unit"):
        corpus(tmp_path, rows, header).samples("train")
    made = corpus(tmp_path, rows, header, unit="nM")
    samples = [s for part in ("train", "val", "test") for s in made.samples(part)]
    labels = {s.extra["input"]: s.extra["label"] for s in samples}
    assert labels["CCO"] == pytest.approx((6 + 9 - math.log10(1100)) / 2)


def test_bounds_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*(f"{text},{n},=" for n, text in enumerate(DRUGS)), "CCO,1,>"]
    with caplog.at_level(logging.INFO, logger="rl4bio"):
        corpus(tmp_path, rows, "smiles,y,relation").samples("train")
    assert "1 rows that are bounds (column 'relation')" in caplog.text


def test_scales_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scale: log10 stands beside unit"):
        corpus(tmp_path, ["C,1"], scale="log10", unit="nM")
    with pytest.raises(DataError, match="y is -1; scale log10 needs numbers above 0"):
        corpus(tmp_path, ["C,-1", "CC,2"], scale="log10").samples("train")


@pytest.mark.parametrize("column", ["Drug", "SMILES_ISO", "Structure", "mol", "canonical_smiles"])
def test_the_only_column_of_molecules_is_taken(column: str, tmp_path: Path) -> None:
    made = corpus(tmp_path, [f"{text},{n}" for n, text in enumerate(DRUGS)], f"{column},y")
    assert len(made.samples("train")) > len(made.samples("test")) > 0


def test_true_and_false_are_labels(tmp_path: Path) -> None:
    (path := tmp_path / "t.csv").write_text("smiles,y\nCCO,True\nCCN,False\nCCC,TRUE\n")
    made = TherapeuticsCorpus(
        tasks=[{"task": "BBB_Martins", "source": str(path)}],
        batch_size=1,
        val_fraction=0,
        test_fraction=0,
    )
    assert {s.extra["input"]: s.target for s in made.samples("train")} == {
        "CCO": "B",
        "CCN": "A",
        "CCC": "B",
    }
