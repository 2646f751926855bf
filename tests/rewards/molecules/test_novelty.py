"""Tests of the novelty reward and of the files it reads."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl4bio.chem.reading import canonical_smiles
from rl4bio.errors import ConfigError, DataError
from rl4bio.rewards.base import Reward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample


def test_the_same_molecule_in_another_spelling_is_known(
    rewards_of: Callable[..., list[float]],
) -> None:
    found = rewards_of(
        "novelty",
        ["OCC", "C(C)O", "CCN", "C(", "[H]OCC", "CC[O-]"],
        smiles=["CCO", "c1ccccc1"],
    )
    assert found == [0, 0, 1, 0, 0, 1]


FILES: dict[str, bytes] = {
    "a.csv": b"Name,SMILES\nethanol,CCO\nbenzene,C1=CC=CC=C1\n",
    "a.csv.gz": gzip.compress(b"smiles,split\r\nCCO,train\r\nc1ccccc1,test\r\n"),
    "a.smi": b"\xef\xbb\xbfCCO ethanol\n\nc1ccccc1\tbenzene\n",
    "a.txt.gz": gzip.compress(b"CCO\nc1ccccc1"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file(
    name: str, tmp_path: Path, rewards_of: Callable[..., list[float]]
) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    found = rewards_of("novelty", ["OCC", "c1ccccc1", "CCN"], file=str(tmp_path / name))
    assert found == [0, 0, 1]


def test_the_file_is_read_before_the_first_completion_and_once(tmp_path: Path) -> None:
    path = tmp_path / "a.smi"
    path.write_text("CCO\n")
    config = RewardConfig(name="novelty", options={"file": str(path)})
    scorer = WeightedRewards.from_config([config])
    path.unlink()
    again = WeightedRewards.from_config([config])
    sample = Sample(uid="1", prompt="")
    for rewards in (scorer, again):
        assert rewards(["OCC", "CCN"], [sample, sample]).total == [0, 1]


def test_canonical_takes_texts_as_they_are(
    tmp_path: Path, rewards_of: Callable[..., list[float]]
) -> None:
    path = tmp_path / "a.smi"
    path.write_text("OCC\nCCN\n")
    assert rewards_of("novelty", ["CCO", "CCN"], file=str(path), canonical=True) == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"smiles\nCCO\nC((\n", r"a.csv:3: 'C\(\(' is no SMILES \(syntax\)"),
        ("a.csv", b"a,smiles\n1,CCO\n2\n", r"a.csv:3: '' is no SMILES \(empty\)"),
        ("a.csv", b"a,b\n1,2\n", "a.csv:1: no column 'smiles'; it has a, b"),
        ("a.csv", b"smiles\n", "a.csv:1: holds no molecule"),
        ("a.smi", b"CCO\nnonsense\n", "a.smi:2: 'nonsense' is no SMILES"),
        ("a.smi", b"", "a.smi:1: holds no molecule"),
        ("a.smi", b"CCO\n\xff\xfe", "a.smi: is not UTF-8"),
        ("a.csv.gz", b"smiles\nCCO\n", "a.csv.gz: cannot be read"),
        ("a.csv.gz", gzip.compress(b"smiles\n" + b"CCO\n" * 999)[:-9], "a.csv.gz: cannot be read"),
        ("a.sdf", b"", "a.sdf: unknown kind of file; needs one of .csv"),
    ],
)
def test_bad_files(
    name: str, content: bytes, message: str, tmp_path: Path, build: Callable[..., Reward]
) -> None:
    (tmp_path / name).write_bytes(content)
    reward = build("novelty", file=str(tmp_path / name))  # a configuration is checked without data
    with pytest.raises(DataError, match=message):
        reward.prepare()


def test_missing_files_and_refused_options(tmp_path: Path, build: Callable[..., Reward]) -> None:
    with pytest.raises(DataError, match=r"none\.smi: cannot be read"):
        build("novelty", file=str(tmp_path / "none.smi")).prepare()
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "file: needs the reference set"),
        ({"smiles": ["CC", "C(("]}, r"smiles\[1\]: 'C\(\(' is no SMILES"),
    ]
    for options, message in refused:
        with pytest.raises(ConfigError, match=message):
            build("novelty", **options)


def test_real_molecules_are_known_in_any_spelling(
    shared_data: Path, moses_rows: list[dict[str, str]], rewards_of: Callable[..., list[float]]
) -> None:
    smiles = [row["smiles"] for row in moses_rows]
    found = rewards_of("novelty", smiles, smiles=[canonical_smiles(s) for s in smiles[:100]])
    assert found == [0] * 100 + [1] * 100
