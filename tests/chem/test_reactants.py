"""Sets of reactants: reading, equality and likeness."""

from __future__ import annotations

import itertools
import random

import pytest

from rl4bio.chem.fingerprints import similarity
from rl4bio.chem.reactants import (
    MAX_PARTS,
    copied_similarity,
    reactant_similarity,
    read_reactants,
    same_reactants,
)

ACID, AMINE, AMIDE = "OC(=O)c1ccccc1", "NCc1ccccc1", "O=C(NCc1ccccc1)c1ccccc1"
DRUGS = [
    ACID, AMINE, AMIDE, "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", "Cn1c(=O)c2c(ncn2C)n(C)c1=O", "CCO", "CCN",
    "c1ccncc1", "Clc1ccccc1", "OB(O)c1ccccc1",
]  # fmt: skip


def names(text: str) -> list[str]:
    return [molecule.canonical for molecule in read_reactants(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OCC.CN", ["CCO", "CN"]),
        ("CN.OCC", ["CCO", "CN"]),
        ("[CH3:1][NH2:2].[CH3:7]CO", ["CCO", "CN"]),
        ("CN.CN", ["CN", "CN"]),
        ("C1.C1", ["CC"]),  # a bond across the dot
        ("[Na+].[H-]", ["[Na+]"]),
        ("", []),
        ("CCO and CN", []),
        ("CCO.", []),
        ("CCO.C((", []),
    ],
)
def test_read_reactants(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_the_same_set_in_any_order_and_as_often() -> None:
    first = read_reactants(f"{ACID}.{AMINE}")
    assert same_reactants(first, read_reactants(f"{AMINE}.c1ccccc1C(O)=O"))
    assert same_reactants(first, first[::-1])
    assert not same_reactants(first, read_reactants(ACID))
    assert not same_reactants(first, read_reactants(f"{ACID}.{AMINE}.{AMINE}"))
    assert not same_reactants(read_reactants("C[C@H](N)O"), read_reactants("C[C@@H](N)O"))


def test_similarity_by_hand() -> None:
    # ECFP4 counts: ethane and propane 2/7, methane nothing in common with either.
    one = read_reactants("CC.C")
    assert reactant_similarity(one, read_reactants("CCC.C")) == pytest.approx((2 / 7 + 1) / 2)
    assert reactant_similarity(one, read_reactants("CC")) == pytest.approx(1 / 2)
    assert reactant_similarity(one, read_reactants("CCC")) == pytest.approx((2 / 7) / 2)
    assert reactant_similarity(one, read_reactants("CC.CC")) == pytest.approx(1 / 2)
    assert reactant_similarity(one, one[::-1]) == 1
    assert reactant_similarity(one, ()) == reactant_similarity((), ()) == 0


def test_a_good_molecule_listed_again_does_not_pay_again() -> None:
    target = read_reactants(f"{ACID}.{AMINE}")
    values = [
        reactant_similarity(read_reactants(".".join([ACID] * n)), target) for n in range(2, 9)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.3


def test_the_best_matching_is_found() -> None:
    """Against all matchings, one by one; and the same from both sides."""
    rng = random.Random(1)
    for _ in range(40):
        few, many = (
            read_reactants(".".join(rng.choices(DRUGS, k=size)))
            for size in sorted(rng.choices(range(1, 5), k=2))
        )
        best = max(
            sum(similarity(a, b, "ECFP4") for a, b in zip(few, order, strict=True))
            for order in itertools.permutations(many, len(few))
        )
        assert reactant_similarity(few, many) == pytest.approx(best / len(many))
        assert reactant_similarity(many, few) == reactant_similarity(few, many)


def test_large_sets() -> None:
    many = read_reactants(".".join(["C"] * 400))
    assert reactant_similarity(many[:MAX_PARTS], many) == pytest.approx(MAX_PARTS / 400)
    assert reactant_similarity(many[: MAX_PARTS + 1], many) == 0


def test_no_number_of_copies_beats_what_copies_reach() -> None:
    wanted = read_reactants(f"{ACID}.{AMINE}.CCO")
    given = read_reactants(AMIDE)
    limit = copied_similarity(given, wanted)
    reached = [reactant_similarity(given * n, wanted) for n in range(1, 9)]
    assert max(reached) == pytest.approx(limit)
    assert reached.index(max(reached)) == 2  # three copies, one for each
    assert copied_similarity((), wanted) == copied_similarity(given, ()) == 0
    two = read_reactants(f"{AMIDE}.CCO")
    reached = [
        reactant_similarity(two[:1] * n + two[1:] * m, wanted) for n in range(4) for m in range(4)
    ]
    assert max(reached) == pytest.approx(copied_similarity(two, wanted))
