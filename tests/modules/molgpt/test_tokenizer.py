"""MolGPT's tokenizer: its vocabularies, strictness, and the start token that some models have."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rl4bio.chem.tokens import TokenError
from rl4bio.modules.molgpt.model import MolGPTConfig
from rl4bio.modules.molgpt.tokenizer import SmilesTokenizer

SMALL = {"(": 0, ")": 1, "1": 2, "<": 3, "=": 4, "Br": 5, "C": 6, "O": 7, "[nH]": 8, "c": 9}


@pytest.fixture(params=[None, "<"], ids=["no_start", "start"])
def bos(request: pytest.FixtureRequest) -> str | None:
    return request.param


@pytest.fixture
def tokenizer(bos: str | None) -> SmilesTokenizer:
    return SmilesTokenizer(vocabulary=SMALL, bos_token=bos)


def test_ids_by_hand(tokenizer: SmilesTokenizer, bos: str | None) -> None:
    start = [] if bos is None else [3]
    assert tokenizer("CBr")["input_ids"] == [*start, 6, 5]
    assert tokenizer("c1c[nH]c1")["input_ids"] == [*start, 9, 2, 9, 8, 9, 2]
    assert tokenizer("CBr", add_special_tokens=False)["input_ids"] == [6, 5]
    assert tokenizer("")["input_ids"] == start
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (3, 3)
    assert tokenizer.bos_token_id == (3 if start else None)
    assert len(tokenizer) == tokenizer.vocab_size == 10
    assert tokenizer.get_vocab() == SMALL


def test_end_token_stays_unless_it_is_skipped(tokenizer: SmilesTokenizer) -> None:
    ids = tokenizer("CO<<", add_special_tokens=False)["input_ids"]
    assert ids == [6, 7, 3, 3]
    assert tokenizer.decode(ids) == "CO<<"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "CO"
    assert tokenizer.batch_decode([[6, 5], [7, 3]]) == ["CBr", "O<"]


def test_pads_go_in_front(tokenizer: SmilesTokenizer) -> None:
    batch = tokenizer(["C", "COC"], add_special_tokens=False, padding=True)
    assert batch["input_ids"] == [[3, 3, 6], [6, 7, 6]]
    assert batch["attention_mask"] == [[0, 0, 1], [1, 1, 1]]


def test_unknown_tokens_and_characters_are_errors(tokenizer: SmilesTokenizer) -> None:
    with pytest.raises(ValueError, match=r"'\[C@H\]' in 'C\[C@H\]O' is not in the vocabulary"):
        tokenizer("C[C@H]O")
    with pytest.raises(ValueError, match="'Cl' in"):  # not C and a dropped l
        tokenizer("Cl")
    for text, character in (("C O", "' '"), ("CQ", "'Q'"), ("C[nH", r"'\['"), ("Cé", "'é'")):
        with pytest.raises(TokenError, match=f"{character} at position"):
            tokenizer(text)
    assert issubclass(TokenError, ValueError)


def test_vocabulary_must_hold_the_end() -> None:
    with pytest.raises(ValueError, match="has no '<'"):
        SmilesTokenizer(vocabulary={"C": 0})
    with pytest.raises(ValueError, match="vocab_file or vocabulary"):
        SmilesTokenizer()


def test_start_token_survives_the_folder(tokenizer, bos: str | None, tmp_path: Path) -> None:
    MolGPTConfig(vocab_size=10).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "vocab.json").read_text()) == SMALL
    for _ in range(2):  # saved, read, saved again and read again
        read = AutoTokenizer.from_pretrained(tmp_path)
        assert type(read) is SmilesTokenizer
        assert read.bos_token == bos
        assert (read.eos_token, read.pad_token, read.padding_side) == ("<", "<", "left")
        assert read("C1=CC1<")["input_ids"] == tokenizer("C1=CC1<")["input_ids"]
        assert read.get_vocab() == SMALL
        read.save_pretrained(tmp_path)


@pytest.mark.parametrize(("name", "size", "end"), [("moses2", 26, 10), ("guacamol2", 94, 16)])
def test_published_vocabularies(shared_data: Path, name: str, size: int, end: int) -> None:
    tokenizer = SmilesTokenizer(str(shared_data / "smiles" / f"{name}_stoi.json"))
    assert (len(tokenizer), tokenizer.eos_token_id, tokenizer.bos_token) == (size, end, None)
    for token, index in tokenizer.get_vocab().items():
        assert tokenizer(token)["input_ids"] == [index]


def test_real_strings_round_trip(shared_data: Path) -> None:
    tokenizer = SmilesTokenizer(str(shared_data / "smiles" / "moses2_stoi.json"))
    with gzip.open(shared_data / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        rows = [row["smiles"] for row in itertools.islice(csv.DictReader(stream), 2000)]
    encoded = tokenizer(rows)["input_ids"]
    assert tokenizer.batch_decode(encoded) == rows
    assert max(map(len, encoded)) <= 51  # the longest of the whole file
