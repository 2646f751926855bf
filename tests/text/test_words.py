"""Tests of folding, tokens and numbers."""

from __future__ import annotations

import pytest

from rl4bio.text.words import FUNCTION_WORDS, fold, is_number, tokens


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0.05", "0.05"),
        (".05", "0.05"),
        ("0,05", "0.05"),
        ("0·05", "0.05"),
        ("·05", "0.05"),
        ("0.050", "0.05"),
        ("1,234", "1234"),
        ("1,234,567.5", "1234567.5"),
        ("0,125", "0.125"),  # a comma behind a lone zero is a decimal comma
        ("12,5", "12.5"),
        ("2.0", "2"),
        ("007", "7"),
        ("0", "0"),
        ("45%", "45%"),
        ("45 %", "45%"),
        ("45 percent", "45%"),
        ("45 per cent", "45%"),
        ("-0.5", "-0.5"),
        ("−0.5", "-0.5"),  # U+2212
        ("４５", "45"),  # full width
        ("9" * 5000, "9" * 5000),  # above the limit of int()
    ],
)
def test_numbers_have_one_spelling(written: str, number: str) -> None:
    assert tokens(f"p = {written} mg") == ["p", number, "mg"]


def test_a_hyphen_between_numbers_is_a_range_and_before_one_a_sign() -> None:
    assert tokens("CI 1.6-2.6, change -3 (-4)") == ["ci", "1.6", "2.6", "change", "-3", "-4"]


def test_words_may_hold_digits_and_numbers_may_touch_words() -> None:
    assert tokens("CD4 and HbA1c: 5mg") == ["cd4", "and", "hba1c", "5", "mg"]


def test_list_markers_are_no_numbers() -> None:
    assert tokens("1. First\n2) second\nStep 3: third 4") == ["first", "second", "third", "4"]


def test_fold_keeps_line_ends_and_drops_what_is_invisible() -> None:
    assert fold("Ｙ\u200bE\u202es\n“No”") == 'yes\n"no"'
    assert fold("y\x00es") == "yes"


def test_fold_composes_marks_within_a_word() -> None:
    assert fold("e\u0301tude") == "étude" == fold("étude")


def test_strike_through_stays_visible() -> None:
    assert fold("y\u0336es") == "y\u0336es"


def test_is_number_and_function_words() -> None:
    assert [is_number(t) for t in tokens("12 weeks 5% -3")] == [True, False, True, True]
    assert {"the", "no", "vs"} <= FUNCTION_WORDS
    assert "trial" not in FUNCTION_WORDS
