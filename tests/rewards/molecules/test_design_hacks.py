"""What a policy could answer to a design prompt instead of a better molecule, and what it earns."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import build_scorer
from rl4bio.sections import RewardConfig, RunConfig
from rl4bio.types import Sample

# The mix of docs/therapeutics_rewards.md, with drug-likeness in the place of an affinity.
MIX: dict[str, Any] = {
    "mode": "geometric",
    "min_heavy_atoms": 10,
    "max_heavy_atoms": 60,
    "max_fragments": 1,
    "parts": [{"name": "qed", "weight": 2.0}, {"name": "sa"}],
    "filters": [
        {"name": "novelty", "options": {"input": True}},
        {"name": "similarity", "options": {"low": 0.3, "high": 0.8}},
        {"name": "pains"},
        # Isotopes, charges, and elements that no oral drug has.
        {
            "name": "smarts",
            "options": {"absent": ["[!0*]", "[+,-]", "[!#1;!#6;!#7;!#8;!#9;!#16;!#17;!#35]"]},
        },
    ],
}
GIVEN = "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC"
ANALOGUES = [
    "COc1cc2ncnc(Nc3cccc(Cl)c3)c2cc1OCCN1CCOCC1",
    "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
    "COCCOc1cc2ncnc(Nc3cccc(C#N)c3)c2cc1OC",
]
PROMPT = (
    "Instructions: Propose a molecule.\nContext: EGFR is a kinase.\nQuestion: Given a drug SMILES "
    f"string, write one that binds better.\nDrug SMILES: {GIVEN}\nAnswer:"
)

NOTHING = [
    "",
    " ",
    "C",
    "CCO",
    "c1ccccc1",
    GIVEN,
    "C#Cc1cccc(Nc2ncnc3cc(OCCOC)c(OCCOC)cc23)c1",  # from the other end
    "COCCOC1=CC2=NC=NC(NC3=CC=CC(C#C)=C3)=C2C=C1OCCOC",  # Kekule form
    "[CH3:9]OCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC",
    GIVEN + ".Cl",
    GIVEN + ".C",
    "[13CH3]" + GIVEN[1:],
    "[2H]" + GIVEN,
    GIVEN.replace("(N", "([NH2+]"),
    PROMPT,
    PROMPT + " " + ANALOGUES[0],
    "C" * 400,
    "C" * 501,
    f"{ANALOGUES[0]}.{ANALOGUES[1]}",
    f"{ANALOGUES[0]} {ANALOGUES[1]}",
    f"{ANALOGUES[0]}\n{ANALOGUES[1]}",
    f"{ANALOGUES[0]}, {ANALOGUES[1]}",
    f"I propose {ANALOGUES[0]}",
    f"{ANALOGUES[0]} binds EGFR.",
    f"SMILES: {ANALOGUES[0]}",
    f"`{ANALOGUES[0]}`",
    "*" + ANALOGUES[0],
    "C" * 10,
    "C" * 60,
]
LITTLE = [
    "c1ccccc1" * 5,
    "CC(=O)Oc1ccccc1C(=O)O",  # good, and nothing like the input
    "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOCC",  # one atom more
    "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCO",
    "CCOCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOCC",
]
FORMS = ("plain", "tags")


def sample(form: str, given: str = GIVEN) -> Sample:
    extra = {"kind": "design", "task": "Design", "answer_form": form, "input": given}
    return Sample(uid="1", prompt=PROMPT, extra=extra)


def written(answer: str, form: str) -> str:
    if form == "plain":
        return answer
    return f"<reasoning>A smaller group fits.</reasoning>\n<answer>{answer}</answer>"


@functools.cache  # its patterns are matched in a process, which takes a second to start
def scorer() -> WeightedRewards:
    return WeightedRewards.from_config([RewardConfig(name="combined", options=MIX)])


def total(answer: str, form: str, scorer: WeightedRewards) -> float:
    return scorer([written(answer, form)], [sample(form)]).total[0]


@pytest.fixture(scope="module")
def honest() -> float:
    """The least that an analogue earns."""
    pairs = itertools.product(ANALOGUES, FORMS)
    return min(total(answer, form, scorer()) for answer, form in pairs)


def test_an_honest_analogue_earns_a_lot(honest: float) -> None:
    assert honest > 0.5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", NOTHING, ids=range(len(NOTHING)))
def test_worth_nothing(answer: str, form: str) -> None:
    assert total(answer, form, scorer()) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", LITTLE, ids=range(len(LITTLE)))
def test_worth_less_than_an_analogue(answer: str, form: str, honest: float) -> None:
    assert 0 < total(answer, form, scorer()) < honest


@pytest.mark.parametrize(
    "completion",
    [
        ANALOGUES[0],
        f"<answer>{ANALOGUES[0]}</answer>",
        f"<reasoning>{ANALOGUES[0]}</reasoning>",
        f"<reasoning>{ANALOGUES[0]}</reasoning><answer></answer>",
        f"<reasoning></reasoning><answer>{ANALOGUES[0]}</answer>",
        written(ANALOGUES[0], "tags") * 2,
        written(ANALOGUES[0], "tags") + written(ANALOGUES[1], "tags"),
        written(ANALOGUES[0], "tags") + " It binds EGFR.",
        written(f"{ANALOGUES[0]}</answer><answer>{ANALOGUES[1]}", "tags"),
        PROMPT + written(ANALOGUES[0], "tags"),
    ],
    ids=range(10),
)
def test_an_answer_outside_its_block_earns_nothing(completion: str) -> None:
    assert scorer()([completion], [sample("tags")]).total == [0]


def test_without_the_limits_some_of_it_would_pay() -> None:
    """Why the mix has them."""

    def without(*names: str) -> WeightedRewards:
        filters = [entry for entry in MIX["filters"] if entry["name"] not in names]
        kept = {k: v for k, v in MIX.items() if k not in names}
        options = kept | {"filters": filters, "rules": "none"}
        return WeightedRewards.from_config([RewardConfig(name="combined", options=options)])

    copies = ("novelty", "similarity")
    assert total(GIVEN, "plain", without(*copies)) > 0.4
    assert total("[13CH3]" + GIVEN[1:], "plain", without(*copies, "smarts")) > 0.4
    assert total(ANALOGUES[0] + ".C", "plain", without("max_fragments")) > 0.5
    assert total("C", "plain", without("min_heavy_atoms", "similarity")) > 0.3
    assert total("CC(=O)Oc1ccccc1C(=O)O", "plain", without("similarity")) > 0.6


def test_a_run_pays_for_each_molecule_once_whatever_the_prompt() -> None:
    run = RunConfig(name="x", rewards=[RewardConfig(name="combined", options=MIX)])
    guarded = build_scorer(run)
    batch = [written(answer, "tags") for answer in (ANALOGUES[0], ANALOGUES[0], ANALOGUES[1])]
    first = guarded(batch, [sample("tags")] * 3)
    assert first.states == ["valid", "duplicate", "valid"]
    assert (first.total[0] > 0.5, first.total[1], first.total[2] > 0.5) == (True, 0, True)
    again = guarded(batch[:1], [sample("tags", given=ANALOGUES[2])])
    assert (again.states, again.total) == (["seen"], [0])
