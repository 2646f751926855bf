"""Tests of the choice reward."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl4bio.answers.choice import MAX_CHARACTERS, read_choice
from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.choice import ChoiceReward
from rl4bio.types import Sample

OPTIONS = {
    "A": "Aspirin",
    "B": "Iron deficiency",
    "C": "Iron deficiency anaemia",
    "D": "Vitamin C",
    "E": "Both A and B",
}


def question(target: str | None = "B", **extra: Any) -> Sample:
    return Sample(uid="q7", prompt="", target=target, extra={"options": OPTIONS, **extra})


def tagged(answer: str) -> str:
    return f"<reasoning>Ferritin is low.</reasoning><answer>{answer}</answer>"


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        " B \n",
        "(B)",
        "[b]",
        "B.",
        "B)",
        "**B**",
        '"B"',
        "Ｂ",  # full width, NFKC makes it B
        "B. Iron deficiency",
        "B) iron deficiency.",
        "B: Iron  deficiency",
        "B - Iron deficiency",
        "(B) Iron deficiency",
        "B Iron deficiency",
        "Option B",
        "Answer: B",
        "answer: (B)",
        "The answer is B.",
        "The correct answer is B",
        "My final answer: **B**",
        "The answer to this question is B",
        "The correct option is B. Iron deficiency",
        "Iron deficiency",
        "iron deficiency.",
        "Answer: Iron deficiency",
        "B. Iron deficiency, because a patient who bleeds loses iron",
        "B, e.g. after blood loss",
        "B\nbecause of the blood loss",
        "B. B",
    ],
)
def test_what_chooses_an_option(answer: str) -> None:
    assert read_choice(answer, OPTIONS) == "B"
    assert ChoiceReward().score(tagged(answer), question("B")) == 1.0
    assert ChoiceReward().score(tagged(answer), question("C")) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        # Hedges and lists.
        "B or C",
        "B/C",
        "B, C",
        "B, or A",
        "B, A or nothing",
        "B and also (c)",
        "B, not C",
        "A, B, C, D, E",
        "A B C D E",
        "A. B. C. D. E.",
        "ABCDE",
        "B. Iron deficiency or C. Iron deficiency anaemia",
        "B. Iron deficiency, or aspirin",
        "Aspirin or Iron deficiency",
        "\n".join(f"{letter}. {text}" for letter, text in OPTIONS.items()),
        "~~B~~ C",
        # Letter and text contradict each other.
        "B. Iron deficiency anaemia",
        "B. Aspirin",
        # A letter inside a word, or one that is a word.
        "Best",
        "B-cell lymphoma",
        "B.i.d.",
        "A patient with iron deficiency",
        "A",  # chooses another option
        # Nothing that chooses.
        "",
        "answer",
        "not B",
        "F",
        "iron",
        "deficiency of iron",
        "В",  # Cyrillic
        "B" * 50,
        "B. " + "because of this " * 100,
    ],
)
def test_what_does_not_choose_b(answer: str) -> None:
    assert read_choice(answer, OPTIONS) in (None, "A")
    assert ChoiceReward().score(tagged(answer), question("B")) == 0.0


def test_a_letter_of_an_explanation_counts_as_a_second_one() -> None:
    """The price of strictness, as documented; the same letter in the option's own text is free."""
    assert read_choice("B, for lack of vitamin C", OPTIONS) is None
    assert read_choice("D. Vitamin C", OPTIONS) == "D"
    assert read_choice("B, for lack of vitamin C", {"A": "Folate", "B": "Iron"}) == "B"


def test_a_text_must_equal_exactly_one_option() -> None:
    assert read_choice("Iron deficiency anaemia", OPTIONS) == "C"
    assert read_choice("Both A and B", OPTIONS) == "E"
    assert read_choice("E. Both A and B", OPTIONS) == "E"
    same = {"A": "Methoxyflurane", "B": "methoxyflurane.", "C": "Desflurane"}
    assert read_choice("Methoxyflurane", same) is None
    assert read_choice("Desflurane", same) == "C"


def test_an_option_may_begin_like_a_lead() -> None:
    options = {"A": "Option appraisal", "B": "Appraisal", "C": "Choice of drug"}
    assert read_choice("Choice of drug", options) == "C"
    assert read_choice("Answer: appraisal", options) == "B"


def test_signs_tell_options_apart() -> None:
    options = {"A": "↑ K+, ↓ Na+", "B": "↓ K+, ↑ Na+", "C": "5", "D": "50"}
    assert read_choice("↓ K+, ↑ Na+", options) == "B"
    assert read_choice("A. ↑ K+, ↓ Na+", options) == "A"
    assert read_choice("A. ↓ K+, ↑ Na+", options) is None
    assert read_choice("50", options) == "D"
    assert read_choice("C. 5", options) == "C"
    assert read_choice("C. 50", options) is None


def test_a_lone_letter_is_the_option_of_that_letter() -> None:
    """Real options: a question that refers to a picture or to a list inside it."""
    options = {"A": "c", "B": "d", "C": "ab", "D": "bd"}
    assert read_choice("C", options) == "C"
    assert read_choice("ab", options) == "C"
    assert read_choice("A. c", options) == "A"
    letters = {letter: letter for letter in "ABCDE"}
    assert [read_choice(letter, letters) for letter in "ABCDE"] == list("ABCDE")


@pytest.mark.parametrize(
    "completion",
    [
        "B",
        "<answer>B</answer>",
        "<reasoning></reasoning><answer>B</answer>",
        "<thought>Ferritin is low.</thought><answer>B</answer>",
        tagged("B") + "<answer>C</answer>",
        tagged("B") + " B is right.",
        "<answer>B</answer><reasoning>Ferritin is low.</reasoning>",
        tagged("B</answer><answer>C"),
    ],
)
def test_only_the_strict_form_is_read(completion: str) -> None:
    assert ChoiceReward().score(completion, question("B")) == 0.0
    assert ChoiceReward(wrong_credit=0.1).score(completion, question("B")) == 0.0


def test_names_of_the_tags_are_an_option() -> None:
    completion = "<thought>Ferritin is low.</thought><answer>B</answer>"
    assert ChoiceReward(tags=["thought", "answer"]).score(completion, question("B")) == 1.0
    for tags in (["answer"], ["a", "a"], ["a", "b", "c"], ["a b", "c"]):
        with pytest.raises(ConfigError, match=r"rewards\[0\].options.tags: .*two different names"):
            REWARDS.build("choice", {"tags": tags}, where="rewards[0]")


def test_wrong_credit_is_for_one_wrong_option() -> None:
    reward = ChoiceReward(wrong_credit=0.1)
    values = [reward.score(tagged(a), question("B")) for a in ("B", "C", "B or C", "none")]
    assert values == [1.0, 0.1, 0.0, 0.0]
    for value in (-0.1, 0.3, math.nan):
        with pytest.raises(ValueError, match="wrong_credit"):
            ChoiceReward(wrong_credit=value)


def test_what_cannot_be_scored() -> None:
    reward = ChoiceReward()
    assert math.isnan(reward.score(tagged("B"), question(None)))
    open_question = Sample(uid="q8", prompt="", target="C")  # "vitamin C", say
    assert math.isnan(reward.score(tagged("C"), open_question))
    with pytest.raises(ValueError, match="sample q7: target 'F' is none of the options A, B, C, D"):
        reward.score(tagged("B"), question("F"))


def test_answering_the_same_letter_earns_its_share() -> None:
    """Five samples, one of each letter: any constant answer earns 1 of 5, a list of all none."""
    samples = [question(letter) for letter in "ABCDE"]
    for answer in ("A", "B. Iron deficiency", "E"):
        assert sum(ChoiceReward()([tagged(answer)] * 5, samples)) == 1.0
    assert sum(ChoiceReward()([tagged("A, B, C, D or E")] * 5, samples)) == 0.0


def test_a_long_answer_is_no_choice() -> None:
    padding = "x" * (MAX_CHARACTERS - 3)
    assert read_choice(f"B. {padding}", OPTIONS) == "B"
    assert read_choice(f"B. {padding}x", OPTIONS) is None
