"""The warm start of the nano Gemma 2: what it reads, and its tokenizer."""

from __future__ import annotations

import re

import pytest

from experiments.gemma2_nano.mix import BELIEVED_POLAR_SURFACE, Gemma2NanoMix
from experiments.gemma2_nano.model import new_model, texts_of, train_tokenizer
from rl4bio.answers.tags import strict_parse
from rl4bio.chem.properties import scaffold, tpsa
from rl4bio.chem.reading import read_smiles
from rl4bio.data.synthetic.analogues import molecule_features
from rl4bio.data.therapeutics.corpus import TherapeuticsCorpus
from rl4bio.types import Sample


@pytest.fixture(scope="module")
def mix() -> Gemma2NanoMix:
    return Gemma2NanoMix(size=2000, val_size=20)


def text(sample: Sample) -> str:
    return sample.prompt if isinstance(sample.prompt, str) else sample.prompt[0]["content"]


def test_no_scaffold_of_the_test_split_is_read(mix: Gemma2NanoMix) -> None:
    corpus = TherapeuticsCorpus(
        tasks=[{"task": "Analogue_Barrier", "source": "rl4bio:analogues"}], split="scaffold"
    )
    held_out = {
        scaffold(read_smiles(sample.extra["input"]))
        for split in ("val", "test")
        for sample in corpus.samples(split)  # type: ignore[arg-type]
    }
    read = {scaffold(read_smiles(sample.question)) for sample in mix.samples("train")}
    assert len(held_out) > 50
    assert not read & held_out


def test_notes_are_true_and_answers_are_poor(mix: Gemma2NanoMix) -> None:
    believed = []
    for sample in mix.samples("train"):
        parsed = strict_parse(sample.demonstration, ("reasoning", "answer"))
        if parsed is None:  # direct or predict
            assert re.fullmatch(r" ?(\([AB]\)|\d{3,4}|\S+)", sample.demonstration)
            continue
        molecule = read_smiles(sample.question)
        assert parsed.thought.startswith(molecule_features(molecule))
        if re.fullmatch(r"\([AB]\)", parsed.answer):
            if "crosses the barrier" in text(sample):
                crosses = tpsa(molecule) < BELIEVED_POLAR_SURFACE
                believed.append(parsed.answer == ("(B)" if crosses else "(A)"))
        elif not parsed.answer.isdigit():
            assert read_smiles(parsed.answer).valid
            assert read_smiles(parsed.answer).canonical != molecule.canonical
    assert len(believed) > 600
    assert abs(sum(believed) / len(believed) - 0.7) < 0.055  # three deviations of such a coin


def test_atoms_stay_single_tokens_and_words_whole(mix: Gemma2NanoMix) -> None:
    tokenizer = train_tokenizer(texts_of(mix))
    atoms = tokenizer.tokenize("ClCCc1ccc(Br)cc1C(=O)NC")
    assert atoms == ["Cl", *"CCc1ccc(", "Br", *")cc1C(=O)NC"]
    assert "Ġmolecule" in tokenizer.tokenize("Starting from the molecule below")
    for sample in mix.samples("val"):
        ids = tokenizer(text(sample), add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text(sample)


def test_the_model_has_what_makes_gemma_2(mix: Gemma2NanoMix) -> None:
    tokenizer = train_tokenizer(texts_of(mix))
    config = new_model(tokenizer, seed=0).config
    assert config.attn_logit_softcapping == 50.0
    assert config.final_logit_softcapping == 30.0
    longest = max(len(tokenizer(text(sample))["input_ids"]) for sample in mix.samples("train"))
    assert config.sliding_window < longest < config.max_position_embeddings
