"""What a policy could try instead of a good molecule, and what it earns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rl4bio.rewards.combine import WeightedRewards
from rl4bio.rewards.repeats import RepeatGuard
from rl4bio.sections import MoleculesConfig, RewardConfig
from rl4bio.types import Sample

COMBINED: dict[str, Any] = {
    "mode": "geometric",
    "max_fragments": 1,
    "parts": [
        {"name": "qed", "weight": 2.0},
        {"name": "sa"},
        {"name": "logp", "options": {"low": 1, "high": 4}},
        {"name": "molecular_weight", "options": {"low": 250, "high": 450}},
    ],
    "filters": [
        {"name": "pains"},
        {
            "name": "smarts",
            # Isotopes, charges, and elements that no oral drug has.
            "options": {"absent": ["[!0*]", "[+,-]", "[!#1;!#6;!#7;!#8;!#9;!#16;!#17;!#35]"]},
        },
    ],
}
HONEST = "COc1ccc(CCNC(=O)c2ccc(Cl)cc2)cc1OC"
SAMPLE = Sample(uid="1", prompt="", extra={"prefix": ""})

SAME = [
    "COC1=CC=C(CCNC(=O)C2=CC=C(Cl)C=C2)C=C1OC",  # Kekule form
    "Clc1ccc(cc1)C(=O)NCCc1ccc(OC)c(c1)OC",  # from the other end
    "COc7ccc(CCNC(=O)c8ccc(Cl)cc8)cc7OC",  # other ring numbers
    "COc%11ccc(CCNC(=O)c2ccc(Cl)cc2)cc%11OC",
    "[CH3]O[c]1ccc(CCNC(=O)c2ccc(Cl)cc2)cc1OC",  # brackets
    "[H]C([H])([H])Oc1ccc(CCNC(=O)c2ccc(Cl)cc2)cc1OC",  # hydrogens
    "[CH3:7]Oc1ccc(CCNC(=O)c2ccc(Cl)cc2)cc1OC",  # atom maps
    "C-O-c1:c:c:c(C-C-N-C(=O)-c2ccc(Cl)cc2):c:c1OC",  # bonds written out
]
NOTHING = [
    "",
    " ",
    HONEST + " ",
    HONEST + "\n",
    HONEST + " a potent inhibitor",
    HONEST + "\tname",
    HONEST + " |c:1|",
    HONEST + "\x00",
    "\ufeff" + HONEST,
    HONEST.replace("C", "\u0421"),  # Cyrillic
    HONEST + "*",
    HONEST + "<",
    HONEST + ".",
    "[H][H]",
    "[H]",
    "*",
    "C" * 501,
    "C" * 3000,
    "C.C.C",
    ".".join([HONEST] * 2),
    HONEST + ".Cl",
    HONEST + ".C",
    "[Na+].[Cl-]",
    HONEST.replace("CCN", "CC[NH2+]"),
    "[13CH3]" + HONEST[1:],
    "[2H]" + HONEST,
    "[U]",
    "[He]",
    HONEST.replace("Cl", "[As]"),
    "CN(C)c1ccc(cc1)N=Nc1ccc(cc1)C(=O)O",  # an azo dye
    "C" * 30,
    "C" * 400,
]
LITTLE = {"C": 0.31, "CC": 0.41, "CCO": 0.5, "c1ccccc1": 0.6}
"""Valid, and not worth much: an upper bound of the reward."""


def rewards(*configs: RewardConfig) -> WeightedRewards:
    return WeightedRewards.from_config(configs)


def combined(**options: Any) -> WeightedRewards:
    return rewards(RewardConfig(name="combined", options={**COMBINED, **options}))


def total(text: str, scorer: Callable[..., Any]) -> float:
    return float(scorer([text], [SAMPLE]).total[0])


def test_an_honest_molecule_earns_a_lot() -> None:
    assert total(HONEST, combined()) > 0.9


@pytest.mark.parametrize("text", NOTHING, ids=range(len(NOTHING)))
def test_worth_nothing(text: str) -> None:
    assert total(text, combined()) == 0


@pytest.mark.parametrize("text", LITTLE, ids=range(len(LITTLE)))
def test_worth_little(text: str) -> None:
    assert 0 < total(text, combined()) < LITTLE[text]


@pytest.mark.parametrize("text", SAME, ids=range(len(SAME)))
def test_another_spelling_is_the_same_molecule(text: str) -> None:
    plain = combined()
    assert total(text, plain) == pytest.approx(total(HONEST, plain))
    in_a_batch = RepeatGuard(combined(), MoleculesConfig())([HONEST, text], [SAMPLE] * 2)
    assert in_a_batch.states == ["valid", "duplicate"]
    assert in_a_batch.total[0] > 0.9
    assert in_a_batch.total[1] == 0
    later = RepeatGuard(combined(), MoleculesConfig())
    later([HONEST], [SAMPLE])
    again = later([text], [SAMPLE])
    assert (again.states, again.total) == (["seen"], [0])
    assert again.parts["combined"][0] > 0.9


@pytest.mark.parametrize("text", [HONEST + ".C", "[13CH3]" + HONEST[1:]])
def test_without_rules_a_decorated_copy_would_pay(text: str) -> None:
    """Why the rules are on unless they are switched off: the copy is nearly as good."""
    bare = combined(max_fragments=None, filters=[], rules="none")
    assert total(text, bare) > 0.9
    assert total(text, combined(max_fragments=None, filters=[])) == 0


def test_objectives_do_not_pay_for_fragments_of_their_target() -> None:
    scorer = rewards(RewardConfig(name="albuterol_similarity"))
    target = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
    assert total(target, scorer) == 1
    for text in (target + " ", target + "*", target[:-1], "C"):
        assert total(text, scorer) < 0.2


# --- hostile text -------------------------------------------------------------------------------

DRUGS = [HONEST, "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "C1CC1[N+](=O)[O-]"]
ALPHABET = "CNOSPFIBrlcnops()[]=#-+\\/.:@%123456789H*$~?> <\t\x00é\u200b"


def hostile(seed: int = 0) -> Iterator[str]:
    """1000 texts: noise, broken drugs, bombs of nesting, size, rings, charges and symmetry."""
    rng = random.Random(seed)
    for _ in range(300):
        yield "".join(rng.choices(ALPHABET, k=rng.randrange(60)))
    for _ in range(500):
        text = list(rng.choice(DRUGS))
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(len(text))
            text[place : place + rng.randrange(2)] = rng.choice(ALPHABET[:40])
        yield "".join(text)
    for n in (1, 10, 100, 499, 500, 501, 1999, 2000, 2001, 20_000):
        yield from ("C" * n, "(" * n, "[" * n, "C(" * n + ")" * n, "C1" * n, "=" * n, "." * n)
        yield from ("C%" * n, "N" * n, "[C+]" * n, "C." * n + "C", "c" * n, "[" + "9" * n + "C]")
    for n in (3, 60, 250, 480):
        yield "C1" + "C" * n + "1"
        yield "C1CC2" * (n // 5) + "C" * 2
        yield "".join(f"C{i % 9 + 1}" for i in range(n))
        yield "c1ccc(cc1)" * (n // 6) + "C"
        yield "OC(N)C(=O)" * (n // 5) + "O"
    yield from ("\ud800", "C\ud800", "[C@@@@H]", "[CH99]", "[C+99]", "[Og]", "C" + "\u0301" * 500)
    yield from (f"[{mass}{symbol}]" for mass in (0, 1, 999) for symbol in ("C", "H", "U", "Zz"))
    while True:
        yield "".join(rng.choices("CNO()=1", k=rng.randrange(5, 200)))


def test_a_thousand_hostile_texts_through_the_whole_reward() -> None:
    scorer = RepeatGuard(
        rewards(
            RewardConfig(name="combined", options=COMBINED),
            RewardConfig(name="amlodipine_mpo"),
            RewardConfig(name="sitagliptin_mpo"),
            RewardConfig(name="deco_hop"),
            RewardConfig(name="diversity", weight=0.2),
            RewardConfig(name="scaffold_diversity", weight=0.2),
            RewardConfig(name="lipinski"),
            RewardConfig(name="novelty", options={"smiles": DRUGS}),
        ),
        MoleculesConfig(),
    )
    texts = [text for text, _ in zip(hostile(), range(1000), strict=False)]
    assert len(texts) == 1000
    states: list[str] = []
    for start in range(0, len(texts), 100):
        some = texts[start : start + 100]
        table = scorer(some, [SAMPLE] * len(some))
        states += table.states or []
        for values in table.parts.values():
            assert all(0 <= value <= 1 for value in values)
        for state, value in zip(table.states or [], table.total, strict=True):
            assert (value > 0) == (state == "valid")
    assert states.count("invalid") > 500
    assert states.count("valid") > 50  # not all of it is refused at the door
