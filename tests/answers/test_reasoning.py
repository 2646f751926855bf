"""rl4bio.answers.reasoning: what of a completion reasons, and whether it corrects itself."""

from __future__ import annotations

import time

import pytest

from rl4bio.answers.forms import answer_behind, opening
from rl4bio.answers.reasoning import corrects_itself, count_words, reasoning_of

TAGS = ("reasoning", "answer")


@pytest.mark.parametrize(
    ("completion", "reasoning"),
    [
        ("<reasoning> It is small. </reasoning><answer>(B)</answer>", "It is small."),
        ("<thought>It is small.</thought><answer>yes</answer>", "It is small."),
        ("<reasoning>cut off at the lim", "cut off at the lim"),
        ("<reasoning>not closed <answer>(B)</answer>", "not closed"),
        ("It is small.<answer>(B)</answer>", "It is small."),
        ("/think It is small.\n/answer B", "It is small."),
        ("<reasoning></reasoning><answer>(B)</answer>", ""),
        ("<answer>(B)</answer>", ""),
        ("It is small.", "It is small."),
        ("", ""),
    ],
)
def test_reasoning_is_found_in_any_form(completion: str, reasoning: str) -> None:
    assert reasoning_of(completion) == reasoning


@pytest.mark.parametrize(
    "text",
    [
        "It has two rings. Wait, there are three.",
        "It is polar... wait no, it is not.",
        "Hmm, wait. The amine is charged.",
        "wait",
        "Actually, the ring is aromatic.",
        "It is small, but actually it is charged.",
        "On second thought it is a base.",
        "Let me double-check the ring count.",
        "Let\u2019s re-examine the amide.",  # a curly apostrophe
        "I should verify the charge.",
        "After rechecking the SMILES, two rings.",
        "I made a mistake above.",
        "No, that's wrong.",
        "It crosses.\nCorrection: it does not.",
        "However, on reflection, it is lipophilic.",
    ],
)
def test_self_corrections(text: str) -> None:
    assert corrects_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is actually toxic to the liver.",
        "Patients wait for a transplant; the wait-list is long.",
        "However, the amide is polar.",
        "The model checks the dose and verifies it.",
        "Check the barrier: PSA is below 90.",
        "They wait.",
        "That is right, and incorrect folding is not at issue.",
        "The correction factor is 1.2.",
        "",
    ],
)
def test_ordinary_prose_corrects_nothing(text: str) -> None:
    assert not corrects_itself(text)


def test_words_stand_between_blanks() -> None:
    assert count_words(" two  words\n") == 2
    assert count_words("") == 0


def test_an_opened_answer_is_read_back() -> None:
    assert opening(TAGS, "(") == "<reasoning></reasoning><answer>("
    assert answer_behind(" 437 </answer>\n<end_of_turn>", TAGS) == "437"
    assert answer_behind("437", TAGS) is None  # not closed
    assert answer_behind("437</answer> and more", TAGS) is None
    assert answer_behind("</answer>", TAGS) is None
    assert answer_behind("A<answer>B</answer>", TAGS) == "A<answer>B"  # no reader takes it


def test_long_texts_take_linear_time() -> None:
    start = time.thread_time()
    for piece in ("wait ", "no, ", "<reasoning>", "let me just ", "re", "\n", ".  "):
        corrects_itself(piece * 40_000)
        reasoning_of(piece * 40_000)
    assert time.thread_time() - start < 5
