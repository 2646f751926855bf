"""Tests of the rules that see a turned claim; sentences written by hand."""

from __future__ import annotations

import time

import pytest

from rl4bio.rewards.meaning.polarity import (
    DOUBTFUL,
    MAX_SENTENCES,
    MAX_WORDS,
    agreement,
    statements,
)
from rl4bio.rewards.meaning.polarity_words import Word, word_polarity

ZINC = "Zinc acetate lozenges reduce the duration of colds in adults, but they cause nausea."

CONTRADICTIONS = {
    "not": "Zinc acetate lozenges do not reduce the duration of colds in adults.",
    "n't": "Zinc acetate lozenges don't reduce the duration of colds in adults.",
    "typographic apostrophe": "Zinc acetate lozenges don\u2019t reduce the duration of colds.",
    "never": "Zinc acetate lozenges never reduce the duration of colds in adults.",
    "fail to": "Zinc acetate lozenges fail to reduce the duration of colds in adults.",
    "opposite verb": "Zinc acetate lozenges increase the duration of colds in adults.",
    "other opposite": "Zinc acetate lozenges prolong or increase the duration of colds in adults.",
    "the other clause": "Zinc acetate lozenges reduce the duration of colds, but cause no nausea.",
    "not true that": "It is not true that zinc acetate lozenges reduce the duration of colds.",
    "false that": "It is false that zinc acetate lozenges reduce the duration of colds in adults.",
    "no evidence that": "There is no evidence that zinc lozenges reduce the duration of colds.",
    "denied": "We doubt that zinc acetate lozenges reduce the duration of colds in adults.",
    "behind an aside": "It is not true that, in adults, zinc acetate lozenges reduce the "
    "duration of colds.",
    "among other sentences": f"The trial was small. {ZINC} Zinc acetate lozenges do not reduce the "
    "duration of colds in adults. More work is needed.",
    "upper case": "ZINC ACETATE LOZENGES DO NOT REDUCE THE DURATION OF COLDS IN ADULTS.",
}
AGREEMENTS = {
    "the same": ZINC,
    "a part": "Zinc acetate lozenges reduce the duration of colds.",
    "double negation": "It is not true that zinc acetate lozenges do not reduce the duration of "
    "colds in adults.",
    "no doubt": "There is no doubt that zinc acetate lozenges reduce the duration of colds.",
    "not only": "Zinc acetate lozenges not only reduce the duration of colds in adults.",
    "synonym": "Zinc acetate lozenges shorten and decrease the duration of colds in adults.",
    "about something else": "Vitamin C has no effect on the mood of sailors.",
    "a question": "Do zinc acetate lozenges not reduce the duration of colds in adults?",
    "nothing": "",
    "not a word": "!!! ... ???",
    "other script": "Η μελέτη δεν έδειξε διαφορά.",
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions(name: str) -> None:
    assert agreement(CONTRADICTIONS[name], ZINC) == 0.0


@pytest.mark.parametrize("name", AGREEMENTS)
def test_agreements(name: str) -> None:
    assert agreement(AGREEMENTS[name], ZINC) == 1.0


PAIRS_OF_THE_SAME_MEANING = [
    ("The score is not reliable in children.", "The score is unreliable in children."),
    ("Age was not associated with the outcome.", "Age was unrelated to the outcome."),
    ("There was no difference between the two groups.", "The two groups were not different."),
    ("Mortality did not differ between the groups.", "Mortality was similar between the groups."),
    ("The device is not useful for staging.", "The device is useless for staging."),
    ("Screening should not be offered.", "Screening shouldn't be offered."),
    ("The test cannot exclude cancer.", "The test is not able to exclude cancer."),
    ("The data are insufficient to recommend it.", "The data are not sufficient to recommend it."),
    ("The rate was non-significant in women.", "The rate was not significant in women."),
    ("Sex, age and weight were independent of it.", "Sex, age and weight were independent of it."),
]


@pytest.mark.parametrize(("one", "other"), PAIRS_OF_THE_SAME_MEANING)
def test_negations_in_other_words_agree(one: str, other: str) -> None:
    assert agreement(one, other) == agreement(other, one) == 1.0


PAIRS_OF_OPPOSITE_MEANING = [
    ("The score is reliable in children.", "The score is unreliable in children."),
    ("Mortality was different between groups.", "Mortality was similar between groups."),
    ("The higher dose was superior in men.", "The higher dose was inferior in men."),
    ("No fewer relapses were seen with drug A.", "Fewer relapses were seen with drug A."),
    # No pair of opposites of the tables, but in the same place.
    ("Keyhole repair was superior in older men.", "Keyhole repair was worse in older men."),
    ("Patients were harmed by the treatment.", "Patients were protected by the treatment."),
    ("The tumour was present in all of them.", "The tumour was absent in all of them."),
    ("The most likely diagnosis is gout.", "The most likely diagnosis is not gout."),
    ("Parvovirus B19 infection", "No parvovirus B19 infection"),
    ("Neither age nor sex predicted relapse.", "Age and sex predicted relapse."),
    ("Relapse was predicted by age.", "Relapse was predicted by no age."),
]


@pytest.mark.parametrize(("one", "other"), PAIRS_OF_OPPOSITE_MEANING)
def test_opposites_disagree_both_ways(one: str, other: str) -> None:
    assert agreement(one, other) == agreement(other, one) == 0.0


def test_other_words_for_the_opposite_halve() -> None:
    reference = "Early physiotherapy was effective for shoulder stiffness in diabetic women."
    other = "In diabetic women with stiffness of the shoulder we saw no effect of physiotherapy."
    same = "In diabetic women with stiffness of the shoulder we saw an effect of physiotherapy."
    assert agreement(other, reference) == DOUBTFUL
    assert agreement(same, reference) == agreement(f"{same} {other}", reference) == 1.0
    # What was asked is no claim.
    asked = f"To determine whether in diabetic women {other[20:].lower()}"
    assert agreement(asked, reference) == 1.0


def test_arms_that_are_swapped_are_not_seen() -> None:
    # A known limit, which the documentation states.
    assert agreement("Drug B was better than drug A.", "Drug A was better than drug B.") == 1.0


def test_word_polarity_by_hand() -> None:
    assert word_polarity("increased") == Word("increas", 1, False, "claim")
    assert word_polarity("declined") == Word("increas", -1, False, "claim")
    assert word_polarity("unrelated") == Word("associat", 1, True, "claim")
    assert word_polarity("nonsignificant").negates
    assert not word_polarity("significant").negates
    assert word_polarity("lower").kind == "degree"
    # What only looks negated: no word of the tables is left without the prefix.
    for plain in ("infection", "insulin", "disease", "imaging", "invasive", "unit", "diseased"):
        assert word_polarity(plain)[1:] == (1, False, "other"), plain
    assert word_polarity("screening").key == word_polarity("screened").key


def test_signs_of_a_sentence_by_hand() -> None:
    (said,) = statements(
        "Zinc did not reduce pain, but unsafe doses were unlikely to improve sleep."
    )
    # not turns "reduce pain"; "but" begins anew; "unsafe" is negative alone and "unlikely", behind
    # "were", turns what follows as well as itself.
    assert [(u.key, u.sign) for u in said.units] == [
        ("zinc", 1), ("increas", 1), ("pain", -1),
        ("safe", -1), ("doses", 1), ("likely", -1), ("improv", -1), ("sleep", -1),
    ]  # fmt: skip


def test_a_contrast_ends_what_was_denied() -> None:
    (said,) = statements("It is not true that zinc improves sleep, but colds, too, were shorter.")
    signs = {unit.key: unit.sign for unit in said.units}
    assert signs["zinc"] == signs["sleep"] == -1
    assert signs["cold"] == 1


def test_a_fragment_is_about_nothing() -> None:
    # Two shared words of six are too few to compare, one opposite among them or not.
    assert (
        agreement("Colds did not increase.", "Zinc increased colds among older men in Oslo.") == 1
    )


def test_long_texts_are_read_in_part_and_at_once() -> None:
    assert len(statements("Zinc works well. " * 1000)) == MAX_SENTENCES
    assert len(statements("zinc " * 1000)[0].units) == MAX_WORDS
    hostile = " ".join(f"a{n % 7} b{n % 5} not" for n in range(3000))
    start = time.thread_time()
    agreement(f"{hostile}. " * 5, f"{hostile[::-1]}. {hostile}.")
    assert time.thread_time() - start < 5  # a hang, not a speed
