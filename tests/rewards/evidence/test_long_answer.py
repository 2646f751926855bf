"""Tests of ROUGE-L and of the long-answer reward."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from rl4bio.rewards.evidence.long_answer import MAX_WORDS, LongAnswerReward, rouge_l
from rl4bio.types import Sample


def completion(thought: str, answer: str = "yes") -> str:
    return f"<thought>{thought}</thought><answer>{answer}</answer>"


def test_rouge_l_by_hand() -> None:
    # "police killed the gunman" and "police kill the gunman": common subsequence of 3 in 4 + 4.
    reference = ["police", "killed", "the", "gunman"]
    assert rouge_l(["police", "kill", "the", "gunman"], reference) == 0.75
    # The same words in another order share "the gunman" only: 2 * 2 / 8 (Lin, 2004, section 3).
    assert rouge_l(["the", "gunman", "kill", "police"], reference) == 0.5
    assert rouge_l([], ["a"]) == rouge_l(["a"], []) == rouge_l(["a"], ["b"]) == 0.0


def test_rouge_l_equals_the_quadratic_table() -> None:
    rng = random.Random(0)
    for _ in range(200):
        a = rng.choices("abcd", k=rng.randint(1, 90))
        b = rng.choices("abcde", k=rng.randint(1, 90))
        row = [0] * (len(b) + 1)
        for x in a:
            above, row = row, [0]
            for i, y in enumerate(b):
                row.append(above[i] + 1 if x == y else max(above[i + 1], row[i]))
        assert rouge_l(a, b) == pytest.approx(2 * row[-1] / (len(a) + len(b)))


def test_words_beyond_the_bound_count_as_length_only() -> None:
    assert rouge_l(["b"] * MAX_WORDS + ["a"], ["a"]) == 0.0
    assert rouge_l(["a"] + ["b"] * MAX_WORDS, ["a"]) == pytest.approx(2 / (MAX_WORDS + 2))


def test_scale_from_the_question_to_full_similarity(sample: Sample) -> None:
    # Four words and two with one in common: s0 = 2*1/6 = 1/3, so s1 = max(0.6, (1 + s0)/2) = 2/3.
    mini = dataclasses.replace(sample, reference="all tb tc td", question="all tx")
    reward = LongAnswerReward()
    assert reward.score(completion("all tb tc td"), mini) == 1.0
    # s = 2*2/8 = 1/2: (1/2 - 1/3) / (2/3 - 1/3) = 1/2.
    assert reward.score(completion("all tb ty tz"), mini) == pytest.approx(0.5)
    assert reward.score(completion("all tx"), mini) == 0.0
    assert reward.score(completion("because", "yes: all tb tc td"), mini) > 0.5


def test_a_list_of_keywords_has_no_similarity(sample: Sample) -> None:
    keywords = " ".join(w for w in sample.reference.split() if len(w) > 4)
    assert rouge_l(keywords.split(), sample.reference.split()) > 0.6
    assert LongAnswerReward().score(completion(keywords), sample) == 0.0


def test_nothing_without_the_right_verdict(sample: Sample) -> None:
    reward = LongAnswerReward()
    assert reward.score(completion(sample.reference), sample) == 1.0
    assert reward.score(completion(sample.reference, "no"), sample) == 0.0
    assert reward.score(completion(sample.reference, "yes or no"), sample) == 0.0
    assert reward.score(sample.reference, sample) == 0.0


def test_not_scored_without_reference_or_target(sample: Sample) -> None:
    for change in ({"reference": ""}, {"reference": " ... "}, {"target": None}):
        changed = dataclasses.replace(sample, **change)
        assert math.isnan(LongAnswerReward().score(completion("Colds."), changed))


def test_a_question_equal_to_the_reference_leaves_nothing_to_earn(sample: Sample) -> None:
    same = dataclasses.replace(sample, question=sample.reference)
    assert LongAnswerReward().score(completion(sample.reference), same) == 0.0


def test_real_records(records: list[Sample]) -> None:
    """The expert answer is worth 1, the restated question 0, the pasted abstract hardly more."""
    reward = LongAnswerReward()
    some = records[::5]

    def mean(texts: list[str]) -> float:
        rows = [completion(t, str(s.target)) for t, s in zip(texts, some, strict=True)]
        return sum(reward(rows, some)) / len(some)

    assert mean([s.reference for s in some]) == 1.0
    assert mean([s.question for s in some]) == 0.0
    assert mean([s.context for s in some]) < 0.03
    assert mean([s.reference for s in some[1:] + some[:1]]) < 0.02


def test_full_similarity_is_bounded() -> None:
    for value in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="full_similarity"):
            LongAnswerReward(full_similarity=value)
