"""Diversity by hand, and against plain loops over sets of bits."""

from __future__ import annotations

import math

import pytest

from rl4bio.chem.diversity import (
    internal_diversity,
    scaffold_counts,
    scaffold_diversity,
    snn,
    unique_fraction,
)
from rl4bio.chem.fingerprints import folded_ecfp4
from rl4bio.chem.objectives import REFERENCES
from rl4bio.chem.reading import read_smiles

DRUGS = [read_smiles(text) for text in REFERENCES.values()]


def fingerprints(texts):
    return [folded_ecfp4(read_smiles(text)) for text in texts]


def similarity(first, second) -> float:
    one, other = set(first.GetOnBits()), set(second.GetOnBits())
    return len(one & other) / len(one | other)


def test_internal_diversity_by_hand() -> None:
    # Methane and water share no bit; of the four ordered pairs the two with itself are 1.
    assert internal_diversity(fingerprints(["C", "O"])) == pytest.approx(1 - 2 / 4)
    assert internal_diversity(fingerprints(["C", "O"]), p=2) == pytest.approx(1 - math.sqrt(2 / 4))
    # A repeat adds two pairs of similarity 1: 5 of 9.
    assert internal_diversity(fingerprints(["C", "O", "C"])) == pytest.approx(1 - 5 / 9)
    assert internal_diversity(fingerprints(["C", "C"])) == 0
    assert internal_diversity(fingerprints(["C"])) == 0
    assert math.isnan(internal_diversity([]))


@pytest.mark.parametrize("p", [1, 2])
def test_internal_diversity_of_drugs_is_the_mean_over_all_pairs(p: int) -> None:
    found = [folded_ecfp4(drug) for drug in DRUGS]
    total = sum(similarity(a, b) ** p for a in found for b in found)
    expected = 1 - (total / len(found) ** 2) ** (1 / p)
    assert internal_diversity(found, p=p) == pytest.approx(expected, rel=1e-12)
    assert internal_diversity(found[::-1], p=p) == pytest.approx(expected, rel=1e-12)


def test_nearest_neighbours() -> None:
    one, two = fingerprints(["C", "O"]), fingerprints(["O", "N"])
    assert snn(one, two) == 1 / 2  # methane has none, water finds itself
    assert math.isnan(snn([], two))
    assert math.isnan(snn(one, []))
    found = [folded_ecfp4(drug) for drug in DRUGS]
    expected = [max(similarity(a, b) for b in found[8:]) for a in found[:8]]
    assert snn(found[:8], found[8:]) == pytest.approx(sum(expected) / 8)
    assert snn(found, found) == 1


def test_unique() -> None:
    canonicals = ["CCO", "", "CCO", "C", "N"]
    assert unique_fraction(canonicals) == 3 / 4
    assert unique_fraction(canonicals, first=2) == 1 / 2  # the first two valid ones
    assert math.isnan(unique_fraction([""]))


def test_scaffolds() -> None:
    texts = ["Cc1ccccc1", "Oc1ccccc1", "CCO", "c1", "c1ccc2ccccc2c1", "Cc1ccc2ccccc2c1C"]
    molecules = [read_smiles(text) for text in texts]
    naphthalene, benzene = "c1ccc2ccccc2c1", "c1ccccc1"
    assert scaffold_counts(molecules) == {naphthalene: 2}
    assert scaffold_counts(molecules, min_rings=1) == {naphthalene: 2, benzene: 2}
    assert scaffold_counts(molecules, min_rings=0) == {naphthalene: 2, benzene: 2}
    assert scaffold_diversity(molecules) == 2 / 5
    assert math.isnan(scaffold_diversity(molecules[3:4]))
