"""Answers of completions, and bins of scaled labels."""

from __future__ import annotations

import pytest

from rl4bio.answers.bins import bin_of, bin_text, read_bin, value_of_bin
from rl4bio.answers.design import written_smiles
from rl4bio.answers.forms import answer_of
from rl4bio.types import Sample


def sample(**extra: str) -> Sample:
    return Sample(uid="1", prompt="", extra=dict(extra))


TAGGED = "<reasoning>two rings</reasoning><answer> CCO </answer><end_of_turn>"


@pytest.mark.parametrize(
    ("form", "completion", "answer"),
    [
        ("tags", TAGGED, "CCO"),
        ("tags", "CCO", None),
        ("tags", TAGGED + TAGGED, None),
        ("plain", " (B)<eos>", "(B)"),
        ("plain", TAGGED, TAGGED.removesuffix("<end_of_turn>")),
        ("plain", "", ""),
    ],
)
def test_answer_of(form: str, completion: str, answer: str | None) -> None:
    assert answer_of(completion, sample(answer_form=form)) == answer


def test_written_smiles_of_the_two_kinds_of_policy() -> None:
    assert written_smiles("CO", sample(prefix="C")) == "CCO"
    assert written_smiles(TAGGED, sample(answer_form="tags")) == "CCO"
    assert written_smiles("no tags, though CCO", sample(answer_form="tags")) == ""


@pytest.mark.parametrize(
    ("value", "number"),
    [(-1.5, 0), (4.5, 1000), (1.5, 500), (-0.75, 125), (99.0, 1000), (-99.0, 0)],
)
def test_bins_run_from_the_lowest_label_to_the_highest(value: float, number: int) -> None:
    # 1000 (1.5 + 1.5) / 6 = 500; labels beyond the training range stay inside.
    assert bin_of(value, -1.5, 4.5) == number


def test_halves_are_rounded_up() -> None:
    assert [bin_of(value, 0.0, 1000.0) for value in (0.5, 1.5, 2.49)] == [1, 2, 2]


def test_a_bin_gives_its_label_back_within_half_a_bin() -> None:
    for value in (-1.5, -0.123, 0.0, 3.14, 4.5):
        back = value_of_bin(bin_of(value, -1.5, 4.5), -1.5, 4.5)
        assert abs(back - value) <= 0.5 * 6 / 1000 + 1e-12


def test_a_scale_needs_two_different_ends() -> None:
    with pytest.raises(ValueError, match="needs low below high"):
        bin_of(1.0, 2.0, 2.0)


@pytest.mark.parametrize(("text", "number"), [("007", 7), (" 437 ", 437), ("1000", 1000)])
def test_read_bin(text: str, number: int) -> None:
    assert read_bin(text) == number
    assert bin_text(number) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "7", "1001", "0437", "437.", "4e2", "-10", "437 437", "４３７", None]
)
def test_what_is_no_bin(text: str | None) -> None:
    assert read_bin(text) is None
