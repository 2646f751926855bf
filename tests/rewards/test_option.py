"""Tests of the reward for two-option questions."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl4bio.rewards import REWARDS
from rl4bio.rewards.option import OptionReward, class_weight
from rl4bio.types import Sample

OPTIONS = {"A": "does not cross the BBB", "B": "crosses the BBB"}
SHARES = {"A": 0.25, "B": 0.75}


def question(target: str | None, **extra: Any) -> Sample:
    fields = {"kind": "option", "answer_form": "plain", "options": OPTIONS, "class_share": SHARES}
    return Sample(uid="q1", prompt="", target=target, extra={**fields, **extra})


def test_a_right_answer_is_worth_the_weight_of_its_class() -> None:
    reward = OptionReward()
    # A is the rarest class; a right B is worth 0.25 / 0.75.
    assert reward.score(" (A)<eos>", question("A")) == 1
    assert reward.score(" (B)<eos>", question("B")) == pytest.approx(1 / 3)
    assert OptionReward(balance=False).score("(B)", question("B")) == 1


@pytest.mark.parametrize("answer", ["(B)", "A or B", "", "(C)", "Answer:", "(A) (B)", "(A)(B)"])
def test_a_wrong_answer_or_none_earns_nothing(answer: str) -> None:
    assert OptionReward().score(answer, question("A")) == 0


def test_answers_in_tags() -> None:
    sample = question("A", answer_form="tags")
    tagged = "<reasoning>A charged amine.</reasoning>\n<answer>(A)</answer><end_of_turn>"
    assert OptionReward().score(tagged, sample) == 1
    for text in ("(A)", tagged + tagged, tagged + " (A)", "<answer>(A)</answer>"):
        assert OptionReward().score(text, sample) == 0


@pytest.mark.parametrize("counts", [{"A": 3, "B": 9}, {"A": 9, "B": 3}, {"A": 1, "B": 4, "C": 7}])
def test_one_letter_throughout_earns_the_same_whatever_the_letter(counts: dict[str, int]) -> None:
    total = sum(counts.values())
    shares = {letter: count / total for letter, count in counts.items()}
    options = {letter: f"text {letter.lower() * 3}" for letter in counts}
    samples = [
        question(letter, options=options, class_share=shares)
        for letter, count in counts.items()
        for _ in range(count)
    ]
    means = {
        letter: sum(OptionReward()([f"({letter})"] * total, samples)) / total for letter in counts
    }
    # Each class pays share * min(share) / share = min(share) in all.
    assert means == pytest.approx(dict.fromkeys(counts, min(shares.values())))
    plain = [sum(OptionReward(balance=False)([f"({x})"] * total, samples)) for x in counts]
    assert plain == list(counts.values())
    right = [f"({sample.target})" for sample in samples]
    assert sum(OptionReward()(right, samples)) / total == pytest.approx(
        len(counts) * min(shares.values())
    )


def test_a_class_that_training_lacks() -> None:
    assert class_weight("A", {"A": 0.0, "B": 1.0}) == 1
    assert class_weight("B", {"A": 0.0, "B": 1.0}) == 1
    assert class_weight("A", {"B": 1.0}) == 1


def test_what_cannot_be_scored() -> None:
    reward = OptionReward()
    for sample in (question("A", kind="bin"), question(None), Sample(uid="1", prompt="")):
        assert math.isnan(reward.score("(A)", sample))
    with pytest.raises(ValueError, match="sample q1: target 'C' is none of the options A, B"):
        reward.score("(A)", question("C"))
    with pytest.raises(ValueError, match="sample q1: class_share is missing"):
        reward.score("(A)", question("A", class_share=None))
    assert OptionReward(balance=False).score("(A)", question("A", class_share=None)) == 1
    assert isinstance(REWARDS.build("option", {"balance": False}), OptionReward)
