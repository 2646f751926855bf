"""What a corpus and a policy tell each other: ranges of conditions are learnt, kept and heeded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from rl4bio.chem.tokens import split_smiles, vocabulary_of
from rl4bio.data.smiles import SmilesCorpus
from rl4bio.errors import DataError
from rl4bio.modules.loading import load_policy
from rl4bio.modules.policy import Policy
from rl4bio.runs.binding import bind_corpus
from rl4bio.sections import PolicyConfig
from tests.tiny_molgpt import tiny_molgpt

ROWS = ["smiles,scaffold_smiles,logp", "CCc1ccccc1,C1=CC=CC=C1,3.5", "CCCc1ccccc1,c1ccccc1,4"]


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    folder = tiny_molgpt(
        tmp_path / "conditioned",
        vocabulary=[*vocabulary_of([split_smiles("CC(=O)Oc1ccccc1C#N")])],
        num_layers=1,
        block_size=24,
        num_properties=1,
        property_names=["logp"],
        scaffold_length=10,
    )
    return load_policy(PolicyConfig(checkpoint=str(folder)))


def table(folder: Path) -> SmilesCorpus:
    path = folder / "t.csv"
    path.write_text("\n".join(ROWS) + "\n")
    return SmilesCorpus(
        source=str(path),
        properties=["logp"],
        scaffold="row",
        val_fraction=0,
        test_fraction=0,
        batch_size=1,
    )


def asking(**targets: float) -> SmilesCorpus:
    return SmilesCorpus(targets=targets, scaffold="C1=CC=CC=C1", batch_size=1)


def test_what_was_trained_on_is_kept_with_the_model(
    policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bind_corpus(table(tmp_path), policy, learns=True)
    assert "outside" not in caplog.text
    policy.model.save_pretrained(tmp_path / "model")
    policy.model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert policy.model.config.property_ranges == [[3.5, 4.0]]
    with caplog.at_level(logging.WARNING):
        bind_corpus(asking(logp=3.75), policy, learns=False)
        assert "outside" not in caplog.text
        bind_corpus(asking(logp=40), policy, learns=False)
    assert "data.options: logp 40 is outside 3.5 to 4, which the model was trained" in caplog.text
    assert policy.model.config.property_ranges == [[3.5, 4.0]]


def test_an_unknown_condition_is_refused(policy: Policy) -> None:
    with pytest.raises(DataError, match=r"conditioned on logp.*the data on lopg"):
        bind_corpus(asking(lopg=3), policy)


def test_scaffolds_of_rows_are_written_as_prompts_write_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = [s.extra["scaffold"] for s in table(tmp_path).samples("train")]
    (prompt,) = asking(logp=3).samples("train")
    assert found == [prompt.extra["scaffold"]] * 2 == ["c1ccccc1"] * 2
    assert "scaffolds of 1 of 2 rows are written canonically" in caplog.text
    assert "of line 2 as" in caplog.text
