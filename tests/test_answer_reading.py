"""rl4bio.answer_reading: what completions answer, strictly and leniently."""

from __future__ import annotations

from typing import Literal

import pytest

from rl4bio.answer_reading import lenient_answer, lenient_bin, lenient_choice, strict_answer
from rl4bio.types import Sample

OPTIONS = {"A": "Aspirin", "B": "Beta blocker", "C": "Calcium channel blocker", "D": "Digoxin"}
CHOICE = Sample(uid="1", prompt="p", target="B", extra={"options": OPTIONS})
OPEN = Sample(uid="2", prompt="p", target="sepsis")


def tagged(answer: str, thought: str = "The heart beats too fast.", tag: str = "reasoning") -> str:
    return f"<{tag}>{thought}</{tag}><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("completion", "form", "letter"),
    [
        (tagged("B"), "tags", "B"),
        (tagged("(b) Beta blocker"), "tags", "B"),
        (tagged("Digoxin", tag="thought"), "tags", "D"),
        (tagged("B or C"), "tags", None),
        (tagged("B") + " more", "tags", None),
        ("<answer>B</answer>", "tags", None),
        ("B", "tags", None),
        ("B", "direct", "B"),
        ("The answer is C.", "direct", "C"),
        ("/think It is too fast.\n/answer B", "think", "B"),
        ("It is too fast. B", "think", None),
    ],
)
def test_strict_letters(
    completion: str, form: Literal["tags", "think", "direct"], letter: str | None
) -> None:
    assert strict_answer(completion, CHOICE, "choice", form) == letter


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (tagged("B"), "B"),
        ("<reasoning>too fast</reasoning><answer>B", "B"),
        ("<answer>A</answer> wait <answer>D</answer>", "D"),  # the last block
        ("Too fast, so the answer is (C).", "C"),
        ("First, option A fails.\nThe answer is **B**", "B"),
        ("so \\boxed{D}", "D"),
        ("It is too fast.\n\nC. Calcium channel blocker", "C"),
        ("```\n<Answer>b</Answer>\n```", "B"),
        ("/think too fast\n/answer D", "D"),
        ("The answer is C. This slows the heart.", "C"),
        ("A patient with a fast heart needs help.", None),
        ("B or C", None),
        ("", None),
        ("<answer></answer>", None),
    ],
)
def test_lenient_letters(completion: str, letter: str | None) -> None:
    assert lenient_choice(completion, OPTIONS) == letter


@pytest.mark.parametrize(
    "text",
    ["<answer>" * 30_000, "the answer is " * 20_000, "```\n" * 30_000, "answer: (" * 20_000],
)
def test_hostile_texts_are_read_in_time(text: str) -> None:
    assert lenient_choice(text, OPTIONS) is None


def test_whatever_is_read_strictly_is_read_leniently() -> None:
    for answer in ("A", "b.", "(C)", "Digoxin", "Option D", "The correct answer is B"):
        strict = strict_answer(tagged(answer), CHOICE, "choice", "tags")
        assert strict is not None
        assert lenient_answer(tagged(answer), CHOICE, "choice", "tags") == strict


def test_open_answers_are_answered_or_not() -> None:
    assert strict_answer(tagged("It is sepsis."), OPEN, "open", "tags") == "answered"
    assert strict_answer("It is sepsis.", OPEN, "open", "tags") is None
    assert lenient_answer("It is sepsis.", OPEN, "open", "tags") is None
    assert lenient_answer("<answer>It is sepsis", OPEN, "open", "tags") == "answered"
    assert lenient_answer("<answer> </answer>", OPEN, "open", "tags") is None
    assert strict_answer("It is sepsis.", OPEN, "open", "direct") == "answered"
    assert lenient_answer("It is sepsis.", OPEN, "open", "direct") == "answered"


def test_verdicts_are_read_as_ever() -> None:
    sample = Sample(uid="3", prompt="p", target="yes")
    said = "<thought>It worked.</thought><answer>Yes, it did.</answer>"
    assert strict_answer(said, sample, "verdict", "tags") == "yes"
    assert strict_answer("Yes.", sample, "verdict", "tags") is None
    assert strict_answer("Yes.", sample, "verdict", "direct") == "yes"
    assert strict_answer("/think It worked.\n/answer no", sample, "verdict", "think") == "no"
    assert lenient_answer("So the answer is maybe.", sample, "verdict", "tags") == "maybe"


@pytest.mark.parametrize(
    ("completion", "form", "digits"),
    [
        (tagged("437"), "tags", "437"),
        (tagged("about 437, not 500"), "tags", "437"),
        ("First 100, then 437", "tags", "437"),
        ("437\n\nInstructions: 500", "direct", "437"),
        ("1000", "direct", "1000"),
        ("0.437 or 43 or 4370 or -437 or 437% or C437", "direct", None),
        ("", "direct", None),
    ],
)
def test_lenient_bins(
    completion: str, form: Literal["tags", "think", "direct"], digits: str | None
) -> None:
    assert lenient_bin(completion, form) == digits
