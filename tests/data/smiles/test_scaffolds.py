"""Scaffolds that a model is conditioned on: their spelling and their length."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rl4bio.chem.identity import canonical_scaffold
from rl4bio.data.smiles import SmilesCorpus


def test_a_scaffold_is_written_as_in_training() -> None:
    made = SmilesCorpus(scaffold="C1=CC=CC=C1", batch_size=1)
    (sample,) = made.samples("train")
    assert sample.extra["scaffold"] == "c1ccccc1"
    assert SmilesCorpus(scaffold="", batch_size=1).samples("train")[0].extra["scaffold"] == ""


def test_too_long_scaffolds_are_left_out_before_the_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.csv"
    path.write_text("smiles,scaffold_smiles\nCc1ccccc1,c1ccccc1\nCc1ccc2ccccc2c1,c1ccc2ccccc2c1\n")
    made = SmilesCorpus(
        source=str(path), scaffold="row", val_fraction=0, test_fraction=0, batch_size=1
    )
    made.scaffold_limit = 8
    with caplog.at_level(logging.WARNING, logger="rl4bio"):
        made.bind({token: n for n, token in enumerate(["<", "C", "c", "1", "2"])})
    assert [sample.reference for sample in made.samples("train")] == ["Cc1ccccc1"]
    assert "1 of 2 molecules" in caplog.text
    assert "more than the 8 tokens that the model takes, such as line 3" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c1ccccc1", ""),
        ("C1CCCCC1", ""),
        ("O=C1CCCN1", ""),  # double bonds at the ring belong to it
        ("Cc1ccccc1", "its own is c1ccccc1"),
        ("CCO", "none (it has no ring)"),
    ],
)
def test_a_scaffold_that_no_training_wrote(
    text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    canonical_scaffold.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert canonical_scaffold(text) == text
    assert said in caplog.text if said else not caplog.text
