"""Tests of chat turns, sentences and wrappers."""

from __future__ import annotations

import pytest

from rl4bio.text.sentences import chat, readings, sentences, unwrapped


def test_chat_has_a_system_turn_only_where_one_is_given() -> None:
    assert chat("hello") == [{"role": "user", "content": "hello"}]
    assert [turn["role"] for turn in chat("hello", system="be brief")] == ["system", "user"]


def test_sentences_end_at_full_stops_but_not_at_abbreviations_or_initials() -> None:
    text = "Drug A vs. Placebo was safe. See Smith J. Brown et al. 2010. P was 0.05. Done?  Yes!"
    assert sentences(text) == [
        "Drug A vs. Placebo was safe.",
        "See Smith J. Brown et al. 2010.",
        "P was 0.05.",
        "Done?",
        "Yes!",
    ]


def test_sentences_keep_every_word() -> None:
    text = "One two.\nThree (n = 4). 5 six seven"
    assert " ".join(sentences(text)).split() == text.split()
    assert sentences("  ") == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"so \boxed{\text{C}}.", "so \nAnswer: C\n."),
        (r"$\frac{a}{b}$ is \mathrm{C}", "a{b} is C"),
        (r"\{a\} {b} }", r"\{a\} {b} }"),
        (r"\boxed{C", "\nAnswer: C"),
        ("**C** and snake_case and __D__", "C and snake_case and D"),
        ("\u3010C\u3011", "(C)"),
        ("<b>C</b> <x>", "C <x>"),
        ("p < 0.05, 3 > 2", "p < 0.05, 3 > 2"),
    ],
)
def test_wrappers_are_taken_off(text: str, plain: str) -> None:
    assert unwrapped(text) == plain
    assert unwrapped(plain) == plain


def test_a_text_is_read_as_it_is_first_unless_it_has_a_box() -> None:
    assert readings("plain") == ["plain"]
    assert readings("**C**") == ["**C**", "C"]
    assert readings(r"\boxed{C}") == ["\nAnswer: C\n", r"\boxed{C}"]
