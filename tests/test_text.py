"""Tests of chat turns and sentences."""

from __future__ import annotations

from rl4bio.text import chat, sentences


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
