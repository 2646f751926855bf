"""Tests of the grounding reward, by hand and on real records."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from statistics import fmean

import pytest

from rl4bio.data.pubmedqa.evidence import evidence_sentences
from rl4bio.rewards.evidence.facts import count_facts, count_invented, find_evidence
from rl4bio.rewards.evidence.grounding import (
    GroundingReward,
    copied_fraction,
    count_quoted,
    evidence_of,
)
from rl4bio.text.abstracts import comes_before, states_aim
from rl4bio.text.sentences import sentences
from rl4bio.text.words import tokens
from rl4bio.types import Sample

REWARD = GroundingReward()


@pytest.fixture(scope="session")
def some(records: list[Sample]) -> list[Sample]:
    """Every fourth record."""
    return records[::4]


def value(thought: str, sample: Sample) -> float:
    return REWARD.score(f"<thought>{thought}</thought><answer>yes</answer>", sample)


def abstract(sample: Sample) -> list[str]:
    return [s for line in sample.context.split("\n") for s in sentences(line)]


def telling(sample: Sample) -> list[str]:
    """Sentences of an abstract behind its background and aim."""
    sections = zip(sample.context.split("\n"), sample.extra["section_labels"], strict=True)
    lines = [s for line, label in sections if not comes_before(label) for s in sentences(line)]
    return [line for line in lines if not states_aim(tokens(line))]


# --- by hand --------------------------------------------------------------------------------------


def test_facts_are_numbers_with_a_neighbour_and_new_phrases(sample: Sample) -> None:
    evidence = find_evidence(sample.context, sample.question)

    def facts(text: str) -> int:
        return count_facts(tokens(text), evidence)

    assert facts("Nausea was reported by 29% of them.") == 2  # "nausea was reported", 29%
    assert facts("It was 29 % of volunteers.") == 1
    assert facts("They dissolved lozenges.") == 1
    assert facts("They dissolved lozenges; they dissolved lozenges.") == 1
    assert facts("Colds lasted 4.5 days.") == facts("Colds lasted 4,5 days.") == 1
    assert facts("Colds lasted 4.5 months.") == 0  # the number has another neighbour
    assert facts("29 of 4.5 and 213") == 0
    assert facts("the common cold in adults") == 0  # of the question
    assert facts("after the first and with the") == 0  # no word that is special to this text
    assert facts("p < 0.001") == 0  # a convention


def test_invented_numbers_are_in_neither_context_nor_question(sample: Sample) -> None:
    evidence = find_evidence(sample.context, "Is 7 days enough?")
    said = tokens("213 volunteers, 7 days, 29%, but 30% and 30% and 99")
    assert count_invented(said, evidence) == 2


def test_one_quoted_sentence_is_paid_in_full(sample: Sample) -> None:
    for sentence in abstract(sample):
        assert value(sentence, sample) == 1.0


def test_a_paraphrase_that_cites_two_facts_is_paid_in_full(sample: Sample) -> None:
    thought = "With zinc acetate the symptoms ended after 4.5 days, with starch after 8.1 days."
    assert value(thought, sample) == 1.0
    # One fact (4.5 beside "ended") of the two that are enough.
    assert value("In those who had it, the cold ended after 4.5 of them.", sample) == 0.5


def test_invented_numbers_subtract(sample: Sample) -> None:
    thought = (
        "Symptoms ended after 4.5 days with zinc acetate, and in 77% of adults within 3 weeks."
    )
    # Facts: "symptoms ended", "4.5", "zinc acetate"; invented: 77%, 3.
    assert value(thought, sample) == pytest.approx(3 / 5)


def test_a_factless_evidence_sentence_is_paid_when_quoted(sample: Sample) -> None:
    question = "Does zinc shorten the common cold?"
    plain = dataclasses.replace(
        sample, question=question, context=f"{sample.context} Zinc had no effect on the cold."
    )
    assert value("Zinc had no effect on the cold.", plain) == 1.0
    assert value("Zinc had an effect.", plain) == 0.0


def test_copying_is_measured_in_pairs_and_sentences(sample: Sample) -> None:
    evidence = find_evidence(sample.context, sample.question)
    everything = tokens(sample.context)
    assert copied_fraction([], evidence) == 0.0
    assert copied_fraction(everything, evidence) == 1.0
    assert count_quoted(everything, evidence) == 5
    assert count_quoted(tokens(abstract(sample)[0]), evidence) == 1


def test_not_scored_without_a_context_and_nothing_without_the_form(sample: Sample) -> None:
    assert math.isnan(value("Symptoms ended.", dataclasses.replace(sample, context=" ")))
    assert REWARD.score(abstract(sample)[3], sample) == 0.0
    assert REWARD.score(f"<thought>{abstract(sample)[3]}", sample) == 0.0


def test_options_move_the_bounds(sample: Sample) -> None:
    one = GroundingReward(full_facts=1)
    thought = "<thought>In those who had it, the cold ended after 4.5 of them.</thought>"
    assert one.score(thought + "<answer>yes</answer>", sample) == 1.0
    two = " ".join(abstract(sample)[3:])
    generous = GroundingReward(max_copied_fraction=1.0)
    completion = f"<thought>{two}</thought><answer>yes</answer>"
    assert generous.score(completion, sample) > REWARD.score(completion, sample)


@pytest.mark.parametrize(
    "options",
    [{"full_facts": 0}, {"max_copied_fraction": 0.0}, {"max_quoted_sentences": 2}],
)
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs"):
        GroundingReward(**options)


# --- on real records ------------------------------------------------------------------------------


def mean(thoughts: list[str], samples: list[Sample]) -> float:
    return fmean(value(t, s) for t, s in zip(thoughts, samples, strict=True))


def test_expert_answers_are_grounded_in_their_own_context_only(some: list[Sample]) -> None:
    own = [s.reference for s in some]
    foreign = [s.reference for s in some[37:] + some[:37]]
    assert mean(own, some) > 0.5
    assert mean(foreign, some) < 0.005


def test_quoted_evidence_is_paid(some: list[Sample]) -> None:
    quotes = [
        evidence_sentences(s.context.split("\n"), s.extra["section_labels"], s.reference)
        for s in some
    ]
    assert mean(quotes, some) > 0.92


def test_a_quoted_aim_is_no_evidence(some: list[Sample]) -> None:
    """What a policy learns to quote that is paid for any sentence of the abstract."""
    told = [(s, set(telling(s))) for s in some]
    aims = [(line, s) for s, own in told if own for line in abstract(s) if line not in own]
    assert len(aims) > 250
    paid = [value(line, sample) for line, sample in aims]
    assert sum(one > 0.5 for one in paid) < 0.2 * len(paid)  # 0.98 as any sentence


def test_one_sentence_of_a_five_sentence_abstract_is_paid(some: list[Sample]) -> None:
    paid = []
    for sample in some:
        lines = [line for line in telling(sample) if len(line.split()) >= 8][:5]
        short = dataclasses.replace(sample, context=" ".join(lines))
        paid += [value(line, short) > 0.99 for line in lines]
    assert fmean(paid) > 0.97


def test_restated_question_and_pasted_context_are_worth_nothing(some: list[Sample]) -> None:
    rng = random.Random(0)
    shuffled = [" ".join(rng.sample(abstract(s), len(abstract(s)))) for s in some]
    assert max(value(s.question, s) for s in some) == 0.0
    assert max(value(s.context, s) for s in some) == 0.0
    assert max(value(t, s) for t, s in zip(shuffled, some, strict=True)) == 0.0


@pytest.mark.parametrize(("every", "bound"), [(7, 0.0), (5, 0.01), (3, 0.25)])
def test_pasted_context_with_changed_words(every: int, bound: float, some: list[Sample]) -> None:
    def changed(text: str) -> str:
        return " ".join("thing" if i % every == 0 else w for i, w in enumerate(text.split()))

    assert mean([changed(s.context) for s in some], some) <= bound


def test_more_than_half_of_the_context_is_worth_nothing(some: list[Sample]) -> None:
    halves = [" ".join(s.context.split()[: len(s.context.split()) // 2 + 9]) for s in some]
    assert mean(halves, some) < 0.001


def test_five_sentences_are_worth_nothing(some: list[Sample]) -> None:
    for sample in some:
        lines = [line for line in abstract(sample) if len(line.split()) >= 5]
        if len(lines) >= 5:
            assert value(" ".join(lines[:5]), sample) < 0.02


def test_scrambled_words_are_worth_nothing(some: list[Sample]) -> None:
    rng = random.Random(0)
    words = [s.context.split() for s in some]
    assert mean([" ".join(rng.sample(w, len(w))) for w in words], some) < 0.001
    assert mean([" ".join(rng.sample(w, len(w) // 2)) for w in words], some) < 0.02


def test_fixed_texts_are_worth_next_to_nothing(some: list[Sample]) -> None:
    fixed = (
        "The results of the study show that there was a significant difference between the groups "
        "(p < 0.05, 95% CI), and patients in the control group had a mean age of 65 years with a "
        "follow up of 12 months."
    )
    integers = " ".join(f"{n} patients" for n in range(1, 101))
    assert mean([fixed] * len(some), some) < 0.02
    assert mean([integers] * len(some), some) < 0.001


def test_lists_of_keywords_and_numbers_are_worth_nothing(some: list[Sample]) -> None:
    for sample in some[::3]:
        evidence = find_evidence(sample.context, sample.question)
        pairs = sorted(p for p in evidence.pairs if evidence.new_words.issuperset(p))
        assert value(", ".join(sorted(evidence.new_words)), sample) == 0.0
        assert value(", ".join(" ".join(pair) for pair in pairs), sample) < 0.1
        assert value(", ".join(sorted(evidence.near)), sample) == 0.0


def test_contexts_without_numbers_can_be_cited(records: list[Sample]) -> None:
    bare = [s for s in records if telling(s) and not evidence_of(s).near]
    assert len(bare) >= 10
    longest = [max(telling(s), key=len) for s in bare]
    assert mean(longest, bare) > 0.85


def test_model_reasoning_with_and_without_its_context(
    shared_data: Path, records: list[Sample]
) -> None:
    path = shared_data / "medical/completions/qwen2.5_pubmedqa_test_reasoning.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    by_id = {s.uid: s for s in records}
    samples = [by_id[row["id"]] for row in rows]
    thoughts = [row["reasoning"] for row in rows]
    # These are long (mean 260 words on abstracts of 200): a sixth restate most of the abstract.
    assert mean(thoughts, samples) > 0.55
    assert mean(thoughts, samples[37:] + samples[:37]) < 0.005
