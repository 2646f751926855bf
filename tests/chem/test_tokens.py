"""MolGPT's tokens, read strictly."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import pytest

from rl4bio.chem.tokens import END, TokenError, split_smiles, vocabulary_of


def test_two_letter_atoms_brackets_and_ring_numbers_are_one_token() -> None:
    text = "BrC1CC[nH]c(Cl)c%12/C=C\\[C@@H]1B<<"
    assert split_smiles(text) == [
        *("Br", "C", "1", "C", "C", "[nH]", "c", "(", "Cl", ")", "c", "%12"),
        *("/", "C", "=", "C", "\\", "[C@@H]", "1", "B", "<", "<"),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        *(("CC O", 2), ("CXC", 1), ("C%1", 1), ("Cé", 1), ("C\x00", 1), ("CC ", 2), ("X", 0)),
        *(("C[nH", 1), ("C]", 1), ("[]C", 0), ("[nH]c[n", 5), ("CX[n", 1)),
    ],
)
def test_what_is_no_token_is_an_error_and_not_dropped(text: str, place: int) -> None:
    with pytest.raises(TokenError, match=re.escape(f"at position {place} of")):
        split_smiles(text)


def test_a_vocabulary_is_sorted_and_holds_the_end() -> None:
    assert vocabulary_of(map(split_smiles, ["CO", "C(=O)Cl"])) == {
        token: index for index, token in enumerate(sorted({"C", "O", "(", ")", "=", "Cl", END}))
    }


def test_real_strings_survive_and_fit_the_published_vocabulary(shared_data: Path) -> None:
    with gzip.open(shared_data / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        texts = [row["smiles"] for row in csv.DictReader(stream)]
    assert len(texts) == 75_000
    assert all("".join(split_smiles(text)) == text for text in texts[::25])
    assert max(len(split_smiles(text)) for text in texts) == 51
    published = json.loads((shared_data / "smiles" / "moses2_stoi.json").read_text())
    own = vocabulary_of(map(split_smiles, texts))
    assert set(own) < set(published)  # the sample lacks the rarest bracket atoms
    assert list(published) == sorted(published)
    assert [t for t in published if t in own] == list(own)
