"""Tests of the reward for reactants."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rl4bio.chem.reactants import copied_similarity, reactant_similarity, read_reactants
from rl4bio.errors import ConfigError
from rl4bio.rewards import REWARDS
from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.reactants import ReactantsReward
from rl4bio.types import Sample

# An amide from an acid and an amine.
ACID, AMINE, AMIDE = "O=C(O)c1ccccc1", "NCc1ccc(F)cc1", "O=C(NCc1ccc(F)cc1)c1ccccc1"
CHLORIDE = "O=C(Cl)c1ccccc1"


def question(target: str | None = f"{AMINE}.{ACID}", **extra: Any) -> Sample:
    fields = {"kind": "reactants", "answer_form": "plain", "input": AMIDE, **extra}
    return Sample(uid="u1", prompt="", target=target, extra=fields)


def score(answer: str, sample: Sample | None = None, **options: Any) -> float:
    return ReactantsReward(**options).score(answer, sample or question())


@pytest.mark.parametrize(
    "answer",
    [
        f"{AMINE}.{ACID}",
        f" {ACID}.{AMINE}<eos>",
        "c1ccccc1C(O)=O.C(N)c1ccc(F)cc1",
        f"[O:1]=[C:2]([OH:3])c1ccccc1.{AMINE}",
    ],
)
def test_the_right_set_in_any_spelling_earns_1(answer: str) -> None:
    assert score(answer) == 1


def test_answers_in_tags() -> None:
    sample = question(answer_form="tags")
    tagged = f"<reasoning>An amide bond.</reasoning><answer>{ACID}.{AMINE}</answer>"
    assert score(tagged, sample) == 1
    assert score(f"{ACID}.{AMINE}", sample) == 0


def test_partial_credit_by_its_formula() -> None:
    target, product = read_reactants(f"{AMINE}.{ACID}"), read_reactants(AMIDE)
    answer = f"{AMINE}.{CHLORIDE}"
    s, s0 = reactant_similarity(read_reactants(answer), target), copied_similarity(product, target)
    assert 0 < s0 < s < 1
    assert score(answer) == pytest.approx(0.5 * (s - s0) / (1 - s0))
    assert score(answer, partial=0.8) == pytest.approx(0.8 * (s - s0) / (1 - s0))
    assert score(answer, partial=0) == 0
    # Without a product there is nothing to copy.
    assert score(answer, question(input="")) == pytest.approx(0.5 * s)


def test_equal_fingerprints_are_not_the_same_set() -> None:
    sample = question("C[C@H](N)C(=O)O", input="")
    assert score("C[C@@H](N)C(=O)O", sample) == 0.5
    assert score("C[C@H](N)C(=O)O", sample) == 1


@pytest.mark.parametrize(
    "answer",
    [
        AMIDE,
        "c1ccccc1C(=O)NCc1ccc(F)cc1",  # spelled otherwise
        f"{AMIDE}.{AMIDE}",
        f"{AMIDE}.{AMIDE}.{AMIDE}",
        f"{AMIDE}.C",
        f"{AMIDE}.O",
        "",
        "C",
        "CCO",
        "C((",
        f"{AMINE}.{ACID}.",
        f"{AMINE} and {ACID}",
        f"{AMINE}.{ACID} react",
        f"{AMINE}, {ACID}",
        "What are the reactants?",
        ".".join(["C"] * 300),
        "C" * 400,
    ],
)
def test_worth_nothing(answer: str) -> None:
    assert score(answer) == 0


@pytest.mark.parametrize(
    "answer",
    [
        AMIDE.replace("F", "Cl"),
        AMIDE.replace("F", "Cl") + "." + AMIDE.replace("F", "O"),
        f"{AMINE}.{AMIDE}",
        AMINE,
        f"{AMINE}.{AMINE}.{AMINE}",
        f"{AMINE}.{ACID}.{AMINE}.{ACID}",
        ".".join([AMINE, ACID, CHLORIDE, "CCO", "O", "Cl"]),
    ],
)
def test_worth_less_than_an_honest_attempt(answer: str) -> None:
    honest = score(f"{AMINE}.{CHLORIDE}")
    assert 0.2 < honest < 0.5
    assert score(answer) < honest


def test_repeating_the_product_earns_nothing_even_where_it_is_the_target() -> None:
    sample = question(AMIDE)
    assert score(AMIDE, sample) == 0
    assert score(ACID, sample) == 0


def test_what_cannot_be_scored() -> None:
    for sample in (question(kind="design"), question(None), Sample(uid="1", prompt="")):
        assert math.isnan(score(ACID, sample))
    scorer = WeightedRewards(rewards={"reactants": ReactantsReward()}, weights={"reactants": 1.0})
    with pytest.raises(Exception, match=r"'reactants' raised .*sample u1: target 'C\(\(' is no"):
        scorer(["C"], [question("C((")])
    for value in (-0.1, 1.0, math.nan):
        with pytest.raises(ConfigError, match=r"rewards\[0\].options.partial: got"):
            REWARDS.build("reactants", {"partial": value}, where="rewards[0]")
