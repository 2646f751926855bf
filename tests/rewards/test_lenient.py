"""A first signal for models that do not keep the form yet, and nothing to gain by dropping it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from rl4bio.answers.choice import loose_choice
from rl4bio.answers.forms import loose_answer
from rl4bio.answers.verdict import LABELS
from rl4bio.rewards.base import Reward
from rl4bio.rewards.choice import ChoiceReward
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.option import OptionReward
from rl4bio.rewards.verdict import MAX_LENIENT, VerdictReward, loose_verdict
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

EVIDENCE = "Symptoms ended after 4.5 days with zinc acetate and 8.1 days with starch (p < 0.001)."
SHAPES = {
    "the label alone": "{label}",
    "with an explanation": "{label}, because the colds were shorter.",
    "as a sentence": "The answer is {label}.",
    "answer block alone": "<answer>{label}</answer>",
    "thought not closed": "<thought>{thought} <answer>{label}</answer>",
    "answer not closed": "<thought>{thought}</thought><answer>{label}",
    "answer not opened": "<thought>{thought}</thought>\n{label}",
    "empty thought": "<thought></thought><answer>{label}</answer>",
    "text behind": "<thought>{thought}</thought><answer>{label}</answer>\nThat is all.",
}
"""Ways of giving an answer without the strict form."""
NO_ANSWER = {
    "swapped blocks, the second missing": "<thought>{label}</thought>",
    "opened and cut off": "<thought>{label}",
    "swapped blocks": "<thought>{label}</thought><answer>additional evidence</answer>",
    "swapped tags": "<answer>{label}</answer><thought>{thought}</thought>",
    "an answer inside the thought": "<thought>{thought}<answer>{label}</answer></thought>",
    "two blocks": "<answer>{label}</answer><answer>{label}</answer>",
    "two thoughts": "<thought>a b c</thought><thought>d</thought><answer>{label}</answer>",
    "nothing": "",
}
BOTH = {
    "both": "{label} or {other}",
    "one after the other": "{label}. {other}.",
    "in two blocks": "<answer>{label}</answer><answer>{other}</answer>",
    "inside and behind": "<thought>{thought}</thought><answer>{label}</answer> {other}",
    "inside and before": "{other} <answer>{label}</answer>",
    "inside and between": "<thought>{thought}</thought> {other} <answer>{label}</answer>",
}


def write(shape: str, label: str, other: str = "", thought: str = EVIDENCE) -> str:
    return shape.format(label=label, other=other, thought=thought)


def strict(label: str, thought: str = EVIDENCE) -> str:
    return f"<thought>{thought}</thought><answer>{label}</answer>"


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("label", LABELS)
def test_a_label_without_the_form_is_worth_less_than_in_it(
    name: str, label: str, sample: Sample
) -> None:
    reward = VerdictReward(lenient=0.25)
    text = write(SHAPES[name], label)
    assert loose_verdict(text) == label
    right, wrong = (
        dataclasses.replace(sample, target=t)
        for t in (label, next(other for other in LABELS if other != label))
    )
    assert reward.score(text, right) == 0.25 < reward.score(strict(label), right) == 1.0
    assert reward.score(text, wrong) == 0.0 <= reward.score(strict(label), wrong)
    assert VerdictReward().score(text, right) == 0.0  # off unless asked for


@pytest.mark.parametrize("name", [*NO_ANSWER, *BOTH])
def test_no_answer_and_two_answers_are_worth_nothing(name: str, sample: Sample) -> None:
    reward = VerdictReward(lenient=MAX_LENIENT, wrong_credit=0.2)
    for label, other in itertools.permutations(LABELS, 2):
        text = write({**NO_ANSWER, **BOTH}[name], label, other)
        assert loose_verdict(text) is None
        for target in LABELS:
            assert reward.score(text, dataclasses.replace(sample, target=target)) == 0.0


TOTAL = WeightedRewards.from_config(
    [
        RewardConfig(name="verdict", weight=1.0, options={"lenient": 0.25}),
        RewardConfig(name="long_answer", weight=0.2),
        RewardConfig(name="grounding", weight=0.3),
        RewardConfig(name="structure", weight=0.2, options={"graded": True}),
    ]
)
"""As configs/pubmedqa_gemma3.yaml has them."""


def test_the_order_of_what_a_model_may_do(sample: Sample) -> None:
    """The target is yes."""
    ladder = {
        "right, with evidence": strict("yes"),
        "right, without evidence": strict("yes", "It did help."),
        "wrong, with evidence": strict("no"),
        "right, form dropped at the end": f"<thought>{EVIDENCE}</thought>\nyes",
        "right, nothing but the label": "yes",
        "wrong, without evidence": strict("no", "It did help."),
        "wrong, form dropped at the end": f"<thought>{EVIDENCE}</thought>\nno",
        "nothing but both labels": "yes or no",
    }
    totals = TOTAL(list(ladder.values()), [sample] * len(ladder)).total
    assert totals == sorted(totals, reverse=True)
    assert totals[1] - totals[2] > 0.5  # no evidence makes up for the verdict
    swapped = "<thought>yes</thought><answer>additional evidence</answer>"
    table = TOTAL([swapped, strict("no", "It did help.")], [sample] * 2)
    assert table.parts["verdict"][0] == 0.0
    assert table.total[0] <= table.total[1]  # the form alone, as for a wrong label


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("name", SHAPES)
def test_dropping_the_form_never_pays(name: str, label: str, sample: Sample) -> None:
    """The same thought and label: the total is smaller without the form, right or wrong."""
    texts = [strict(label), write(SHAPES[name], label)]
    for target in LABELS:
        kept, dropped = TOTAL(texts, [dataclasses.replace(sample, target=target)] * 2).total
        assert dropped < kept


def test_one_who_is_always_right_without_the_form_earns_less_than_a_guess_in_it() -> None:
    assert 1 / len(LABELS) > MAX_LENIENT


@pytest.mark.parametrize("reward", [VerdictReward, ChoiceReward, OptionReward])
def test_the_share_is_bounded(reward: type[Reward]) -> None:
    for value in (-0.1, 0.31, math.nan):
        with pytest.raises(ValueError, match="lenient: got"):
            reward(lenient=value)


# --- letters -----------------------------------------------------------------------------------

OPTIONS = {"A": "Aspirin", "B": "Heparin", "C": "Warfarin"}
TAGS = ["reasoning", "answer"]


def letters(shape: str, letter: str, other: str = "") -> str:
    return write(shape.replace("thought>", "reasoning>"), letter, other, "It thins the blood.")


@pytest.mark.parametrize("name", SHAPES)
def test_a_letter_without_the_form(name: str) -> None:
    sample = Sample(uid="q", prompt="", target="B", extra={"options": OPTIONS})
    reward = ChoiceReward(lenient=0.1)
    kept = "<reasoning>It thins the blood.</reasoning><answer>B</answer>"
    assert reward.score(letters(SHAPES[name], "B"), sample) == 0.1 < reward.score(kept, sample)
    assert reward.score(letters(SHAPES[name], "A"), sample) == 0.0
    assert ChoiceReward().score(letters(SHAPES[name], "B"), sample) == 0.0


@pytest.mark.parametrize("name", [*NO_ANSWER, *BOTH])
def test_no_letter_and_two_letters(name: str) -> None:
    for letter, other in itertools.permutations(OPTIONS, 2):
        text = letters({**NO_ANSWER, **BOTH}[name], letter, other)
        assert loose_choice(text, OPTIONS, TAGS) is None


@pytest.mark.parametrize("balance", [True, False])
def test_a_therapeutic_letter_without_the_form(balance: bool) -> None:
    extra = {
        "kind": "option",
        "answer_form": "tags",
        "options": {"A": "does not cross", "B": "crosses"},
        "class_share": {"A": 0.2, "B": 0.8},
    }
    reward = OptionReward(lenient=0.2, balance=balance)
    for letter in "AB":
        sample = Sample(uid="q", prompt="", target=letter, extra=extra)
        kept = reward.score(
            f"<reasoning>It is polar.</reasoning><answer>({letter})</answer>", sample
        )
        assert reward.score(f"({letter})", sample) == pytest.approx(0.2 * kept)
        assert OptionReward(balance=balance).score(f"({letter})", sample) == 0.0
        plain = dataclasses.replace(sample, extra=extra | {"answer_form": "plain"})
        assert reward.score(f"({letter})", plain) == kept  # where no form is asked for


def test_what_else_is_said_is_given_too() -> None:
    assert loose_answer("well: <answer>B</answer> or A") == ("B", "well: \n or A")
    assert loose_answer("B") == ("B", "")
    assert loose_answer("<reasoning>B") is None
