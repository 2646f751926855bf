"""Tests of the semantic reward's arithmetic and of hostile text, on similarities given by hand."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Sequence

import pytest

from rl4bio.errors import ConfigError, MissingPackageError
from rl4bio.registry import build_dataclass
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.evidence.prose import copied_share, ramp, variety
from rl4bio.rewards.meaning.semantic import MAX_CHARACTERS, SemanticReward
from rl4bio.sections import RewardConfig
from rl4bio.types import Sample

REFERENCE = "Zinc acetate lozenges nearly halved the duration of colds but caused nausea."


class Given:
    """A similarity that knows the question's, and gives every text the same."""

    def __init__(self, near: float, floor: float, question: str) -> None:
        self.near, self.floor, self.question = near, floor, question
        self.asked: list[tuple[str, str]] = []

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        self.asked += pairs
        return [self.floor if text == self.question else self.near for text, _ in pairs]


def made(
    sample: Sample, near: float = 0.9, floor: float = 0.6, **options: object
) -> SemanticReward:
    reward = build_dataclass(SemanticReward, options, where="options")
    reward._similarity = Given(near, floor, sample.question or " ")
    return reward


def answer(text: str, thought: str = "because") -> str:
    return f"<thought>{thought}</thought><answer>{text}</answer>"


def test_scale_from_the_question_to_the_reference(sample: Sample) -> None:
    text = [answer("Zinc lozenges made colds shorter but they caused nausea.")]
    # (0.9 - 0.6) / (1 - 0.6) = 0.75
    assert made(sample)(text, [sample]) == pytest.approx([0.75])
    assert made(sample, near=1.0)(text, [sample]) == pytest.approx([1.0])
    assert made(sample, near=0.6)(text, [sample]) == [0.0]
    assert made(sample, near=-0.2)(text, [sample]) == [0.0]
    assert made(sample, near=1.0, floor=1.0)(text, [sample]) == [0.0]
    assert made(sample, near=1.0 + 1e-7)(text, [sample]) == [1.0]


def test_a_turned_conclusion_is_worth_nothing_and_not_even_embedded(sample: Sample) -> None:
    reward = made(sample, near=0.99)
    turned = "Zinc acetate lozenges did not nearly halve the duration of colds nor cause nausea."
    assert reward([answer(turned)], [sample]) == [0.0]
    assert isinstance(reward._similarity, Given)
    assert reward._similarity.asked == []


def test_answer_or_thought_and_within_a_verdict(sample: Sample) -> None:
    completion = answer("yes", thought="The lozenges made colds shorter.")
    reward = made(sample, part="thought", within="verdict")
    assert reward([completion], [sample]) == pytest.approx([0.75])
    assert isinstance(reward._similarity, Given)
    assert reward._similarity.asked[0] == ("The lozenges made colds shorter.", REFERENCE)
    assert reward([answer("no", thought="The lozenges made colds shorter.")], [sample]) == [0.0]
    without = dataclasses.replace(sample, target=None)
    assert math.isnan(reward([completion], [without])[0])
    reward = made(sample, part="answer")
    assert reward([answer("They made colds shorter.")], [without]) == pytest.approx([0.75])


def test_questions_in_the_answer_are_left_out(sample: Sample) -> None:
    reward = made(sample)
    text = f"So what was found? {sample.question} They made colds shorter.\nIs that all?"
    assert reward([answer(text)], [sample]) == pytest.approx([0.75])
    assert isinstance(reward._similarity, Given)
    assert reward._similarity.asked[0] == ("They made colds shorter.", REFERENCE)


def test_tags_are_named(sample: Sample) -> None:
    reward = made(sample, tags=["reasoning", "answer"])
    text = "<reasoning>because</reasoning><answer>They made colds shorter.</answer>"
    assert reward([text, text.replace("reasoning", "thought")], [sample] * 2) == pytest.approx(
        [0.75, 0.0]
    )


def test_cannot_be_scored_without_a_reference(sample: Sample) -> None:
    for reference in ("", " ... "):
        changed = dataclasses.replace(sample, reference=reference)
        assert math.isnan(made(sample)([answer("Colds.")], [changed])[0])
    assert made(sample)([], []) == []


def test_raw_values_are_the_similarities(sample: Sample) -> None:
    texts = [answer("They made colds shorter."), "no tags"]
    raw = made(sample).raw_values(texts, [sample] * 2)["_similarity"]
    assert raw[0] == 0.9
    assert math.isnan(raw[1])


# What a text earns whose similarity is 0.9: 0.75 where it is written like an answer.
HOSTILE: dict[str, tuple[str, float]] = {
    "empty": ("", 0),
    "empty answer": (answer(""), 0),
    "only punctuation": (answer("... !!! ???"), 0),
    "no tags": (REFERENCE, 0),
    "unclosed answer": (f"<thought>because</thought><answer>{REFERENCE}", 0),
    "unclosed thought": (f"<thought>because<answer>{REFERENCE}</answer>", 0),
    "text behind the answer": (answer(REFERENCE) + " And more.", 0),
    "huge": (answer("The lozenges made colds shorter. " * (MAX_CHARACTERS // 20)), 0),
    "one word": (answer("zinc " * 400), 0),
    "keywords": (answer("zinc, acetate, lozenges, duration, colds, nausea, starch, trial"), 0),
    "said three times": (answer("They made colds shorter in adults. " * 3), 0),
    # Distinct triples: 6 of 10, so (0.6 - 0.4) / 0.3 = 2/3 of 0.75.
    "said twice": (answer("They made colds shorter in adults. " * 2), 0.5),
    "question": (answer("Does zinc shorten the common cold in adults?"), 0),
    "question and context": (
        answer(
            "The common cold is a frequent reason for absence from school and work. We enrolled "
            "213 volunteers within 24 hours of their first symptoms. Volunteers dissolved lozenges "
            "of zinc acetate or of starch every three waking hours. Symptoms ended after 4.5 days."
        ),
        0,
    ),
    "other script": (
        answer("Το ψευδάργυρο μείωσε τη διάρκεια του κρυολογήματος στους ενήλικες"),
        0,
    ),
    "control characters": (answer("\u200b\u202e\x00"), 0),
    "a short answer": (answer("zinc lozenges"), 0.75),
    "an honest answer": (answer("The lozenges made colds shorter, at the price of nausea."), 0.75),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_earns_this(name: str, sample: Sample) -> None:
    text, expected = HOSTILE[name]
    assert made(sample)([text], [sample]) == pytest.approx([expected], abs=1e-9)


def test_an_answer_in_the_reference_s_language_is_no_list_of_keywords(sample: Sample) -> None:
    greek = "Οι παστίλιες ψευδαργύρου μείωσαν στο μισό τη διάρκεια του κρυολογήματος."
    changed = dataclasses.replace(sample, reference=greek)
    assert made(sample)([answer(greek)], [changed]) == pytest.approx([0.75])


def test_prose_measures_by_hand() -> None:
    assert variety(["a", "b", "c", "a", "b", "c"]) == 0.75  # abc, bca, cab, abc: 3 of 4
    assert variety(["a", "b"]) == 1.0
    assert copied_share(["a", "b", "c", "d"], ["x", "b", "c", "d"]) == pytest.approx(2 / 3)
    assert copied_share(["a"], ["a"]) == 0.0
    assert [ramp(v, zero=0.4, one=0.8) for v in (0.3, 0.5, 0.9)] == pytest.approx([0, 0.25, 1])
    assert [ramp(v, zero=0.8, one=0.4) for v in (0.3, 0.7, 0.9)] == pytest.approx([1, 0.25, 0])


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, message in (
        ({"kind": "cross_encoder"}, r"rewards\[0\].options.model: kind: cross_encoder has no"),
        ({"tags": ["a"]}, r"rewards\[0\].options.tags: got \['a'\], needs two different names"),
        ({"kind": "bag"}, r"rewards\[0\].options.kind: Invalid value 'bag'"),
    ):
        with pytest.raises(ConfigError, match=message):
            REWARDS.build("semantic", options, where="rewards[0]")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'rl4bio\[semantic\]'"):
        WeightedRewards.from_config([RewardConfig(name="semantic", options={"device": "cpu"})])
