"""Scaffolds to complete as a corpus: given or cut from molecules, checked against the model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from rl4bio.answers.design import written_smiles
from rl4bio.chem.tokens import split_smiles
from rl4bio.data import CORPORA
from rl4bio.data.smiles.decoration import DecorationCorpus
from rl4bio.errors import ConfigError, DataError

ROWS = ("COc1ccccc1", "CC(=O)Nc1ccc(O)cc1", "CCCCCC", "CCN(CC)CCOC(=O)c1ccc(N)cc1")


def corpus(tmp_path: Path, **options: Any) -> DecorationCorpus:
    path = tmp_path / "m.smi"
    path.write_text("\n".join(ROWS) + "\n")
    shares = {"val_fraction": 0, "test_fraction": 0}
    return DecorationCorpus(source=str(path), batch_size=1, **{**shares, **options})


def test_molecules_are_cut_into_prompt_and_demonstration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="rl4bio"):
        samples = corpus(tmp_path).samples("train")
    assert [sample.reference for sample in samples] == [ROWS[0], ROWS[1], ROWS[3]]
    assert "1 of 4 molecules could not be cut" in caplog.text
    for sample in samples:
        assert sample.prompt == f"{sample.extra['decorate']}>"
        assert written_smiles(sample.demonstration, sample) == sample.reference
        assert written_smiles("", sample) == ""
    again = corpus(tmp_path).samples("train")
    assert [s.prompt for s in again] == [s.prompt for s in samples]


def test_every_draw_shows_another_cut_where_that_is_asked_for(tmp_path: Path) -> None:
    made = corpus(tmp_path, randomize=True)
    sample = made.samples("train")[2]
    drawn = [made.vary(sample, number) for number in range(12)]
    assert len({one.prompt for one in drawn}) > 3
    assert all(written_smiles(one.demonstration, one) == ROWS[3] for one in drawn)
    assert made.vary(sample, 5) == drawn[5]
    assert corpus(tmp_path).vary(sample, 5) is sample


def test_a_new_model_gets_the_tokens_of_scaffolds_and_pieces(tmp_path: Path) -> None:
    made = corpus(tmp_path)
    vocabulary = made.vocabulary()
    assert {">", "[*:1]", "c", "<"} <= {*vocabulary}
    made.bind(vocabulary, max_tokens=60)
    assert len(made.samples("train")) == 3
    made.bind(vocabulary, max_tokens=14)  # [*:1]c1ccccc1>[*:1]OC has 13 tokens
    assert [sample.reference for sample in made.samples("train")] == [ROWS[0]]


def test_given_scaffolds_are_prompts() -> None:
    made = DecorationCorpus(scaffolds=["c1ccc(*)cc1", "C1CC1[*:2].c1ccccc1[*:1]"], batch_size=1)
    first, second = made.samples("train")
    assert (first.prompt, second.prompt) == ("[*:1]c1ccccc1>", "[*:1]c1ccccc1.[*:2]C1CC1>")
    assert written_smiles("[*:1]Cl", first) == "Clc1ccccc1"
    assert written_smiles("[*:1]C[*:2]", second) == "c1ccc(CC2CC2)cc1"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "scaffolds: give SMILES with attachment points"),
        ({"scaffolds": ["c1ccccc1*"], "source": "m.smi"}, "scaffolds: give SMILES"),
        ({"scaffolds": ["c1ccccc1"]}, "scaffolds[0]: 'c1ccccc1' has no attachment point"),
        ({"scaffolds": ["*C", "*C(*"]}, "scaffolds[1]: '*C(*' is no molecule (syntax)"),
        ({"scaffolds": ["*C"], "scaffold": "c1ccccc1"}, "scaffold: is the scaffold with its"),
        ({"scaffolds": ["*C"], "context": "C"}, "context: is the scaffold with its"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as found:
        CORPORA.build("decoration", options, where="data")
    assert why in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("tokens", "limit", "why"),
    [
        ("Cc1()<", 50, "the model does not know > [*:1]"),
        ("Cc1()<>[*:1]", 50, "scaffolds[0]: the model does not know N"),
        ("Cc1()<>[*:1]N", 10, "scaffolds[0]: has 10 tokens, and the model has room for 10"),
    ],
)
def test_what_the_model_cannot_complete_is_refused(tokens: str, limit: int, why: str) -> None:
    made = DecorationCorpus(scaffolds=["Nc1ccccc1*"], batch_size=1)
    vocabulary = {token: n for n, token in enumerate(split_smiles(tokens))}
    with pytest.raises(DataError) as found:
        made.bind(vocabulary, max_tokens=limit)
    assert why in str(found.value)
