"""Tests of the novelty reward and of the files it reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rl4bio.chem.reading import read_smiles
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
    assert found == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("column", [None, "Ligand"])
def test_a_file_in_any_spelling(
    column: str | None, tmp_path: Path, rewards_of: Callable[..., list[float]]
) -> None:
    name = "canonical_smiles" if column is None else "ligand"
    path = tmp_path / "known.csv"
    path.write_text(f"name,{name}\nethanol,CCO\nbenzene,C1=CC=CC=C1\n")
    found = rewards_of("novelty", ["OCC", "c1ccccc1", "CCN"], file=str(path), column=column)
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
        ("a.csv", b"a,smiles\n1,CCO\n2,\n", r"a.csv:3: '' is no SMILES \(empty\)"),
        ("a.smi", b"CCO\nnonsense\n", "a.smi:2: 'nonsense' is no SMILES"),
        ("a.csv", b"a,b\n1,2\n", r"a.csv:1: has no column 'smiles' \(the reward's column\)"),
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
    with pytest.raises(DataError, match=r"none\.smi: cannot be read .*the reward's file"):
        build("novelty", file=str(tmp_path / "none.smi")).prepare()
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "file: needs the reference set"),
        ({"smiles": ["CC", "C(("]}, r"smiles\[1\]: 'C\(\(' is no SMILES"),
    ]
    for options, message in refused:
        with pytest.raises(ConfigError, match=message):
            build("novelty", **options)


def test_the_input_of_the_prompt_is_known(tmp_path: Path, build: Callable[..., Reward]) -> None:
    texts = ["OCC", "CCN", "C("]
    given, none = (Sample(uid="1", prompt="", extra={"input": text}) for text in ("C(O)C", ""))
    own = build("novelty", input=True)
    assert own(texts, [given] * 3) == [0, 1, 0]
    assert own(texts, [none] * 3) == [1, 1, 0]  # nothing to copy
    listed = build("novelty", input=True, smiles=["CCN"])
    assert listed(texts, [given] * 3) == [0, 0, 0]
    assert listed(texts, [none] * 3) == [1, 0, 0]
    assert build("novelty", smiles=["CCN"])(texts, [given] * 3) == [1, 0, 0]
    assert own.raw_values(texts, [given] * 3)[""] == pytest.approx([0, 1, math.nan], nan_ok=True)


def test_real_molecules_are_known_in_any_spelling(
    shared_data: Path, moses_rows: list[dict[str, str]], rewards_of: Callable[..., list[float]]
) -> None:
    smiles = [row["smiles"] for row in moses_rows]
    found = rewards_of("novelty", smiles, smiles=[read_smiles(s).canonical for s in smiles[:100]])
    assert found == [0] * 100 + [1] * 100
