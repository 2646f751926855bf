"""The process that foretells scores: by hand, against RDKit's similarities, and fitted in steps."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from rdkit.DataStructs import TanimotoSimilarity

from rl4bio.chem.fingerprints import fingerprint
from rl4bio.chem.genetics.breeding import breed
from rl4bio.chem.genetics.surrogate import (
    KINDS,
    MAX_COUNT,
    Surrogate,
    bits,
    informative,
    similarities,
)
from rl4bio.chem.objectives import OBJECTIVES, REFERENCES
from rl4bio.chem.reading import Molecule, read_smiles

DRUGS = list(REFERENCES.values())
SMALL = ["CCO", "CCN", "c1ccccc1", "Cc1ccccc1", "CC(=O)O", "CCCCO", "C1CC1"]


def read(texts: list[str]) -> list[Molecule]:
    return [read_smiles(text) for text in texts]


def capped(molecule: Molecule, kind: str) -> Counter[int]:
    counts = fingerprint(molecule, kind).GetNonzeroElements()
    return Counter({fragment: min(count, MAX_COUNT) for fragment, count in counts.items()})


@pytest.mark.parametrize(("texts", "tolerance"), [(SMALL, 1e-12), (DRUGS, 0.02)])
def test_products_of_bits_are_the_similarities_of_counts(
    texts: list[str], tolerance: float
) -> None:
    """Of small molecules exactly; of drugs a few fragments collide."""
    molecules = read(texts)
    rows = bits(molecules)
    found = similarities(rows, rows)
    for i, j in itertools.product(range(len(texts)), repeat=2):
        expected = []
        for kind in KINDS:
            one, other = capped(molecules[i], kind), capped(molecules[j], kind)
            expected.append((one & other).total() / (one | other).total())
        assert float(found[i, j]) == pytest.approx(np.mean(expected), abs=tolerance)


def test_where_no_count_is_high_the_similarity_is_rdkits() -> None:
    one, other = read(["CCO", "CCCCO"])
    prints = [(fingerprint(one, kind), fingerprint(other, kind)) for kind in KINDS]
    expected = np.mean([TanimotoSimilarity(*pair) for pair in prints])
    assert float(similarities(bits([one]), bits([other]))[0, 0]) == pytest.approx(expected)


def test_two_unlike_molecules_by_hand() -> None:
    """Scores 1 and 3, mean 2, deviation 1, likeness 0: at either, 1 / (1 + noise) of the way from
    the mean to its score is believed, and noise / (1 + noise) of the variance is left."""
    assert float(similarities(bits(read(["C1CC1"])), bits(read(["F"])))[0, 0]) == 0
    surrogate = Surrogate(10, noise=0.25)
    surrogate.fit(["C1CC1", "F"], [1.0, 3.0])
    mean, deviation = surrogate.predict(read(["C1CC1", "F", "N"]))
    assert mean == pytest.approx([2 - 0.8, 2 + 0.8, 2])
    assert deviation == pytest.approx([0.2**0.5, 0.2**0.5, 1])


def test_equal_scores_foretell_themselves() -> None:
    surrogate = Surrogate(10, noise=0.01)
    surrogate.fit(["CCO"], [0.5])
    mean, deviation = surrogate.predict(read(["CCO", "c1ccccc1"]))
    assert mean == pytest.approx([0.5, 0.5])
    assert deviation[0] < deviation[1]
    with pytest.raises(ValueError, match="needs scored molecules"):
        surrogate.fit([], [])


def test_two_texts_of_a_molecule_are_two_calls() -> None:
    """Canonical SMILES of a canonical SMILES may be another one: nothing may depend on it."""
    surrogate = Surrogate(10, noise=0.01)
    surrogate.fit(["CCO", "OCC", "c1ccccc1"], [0.5, 0.7, 0.0])
    mean, _ = surrogate.predict(read(["CCO"]))
    assert 0.55 < mean[0] < 0.65


def test_what_it_is_fitted_on() -> None:
    scores = np.array([5.0, 1.0, 9.0, 2.0, 8.0, 3.0])
    assert informative(scores, 10).tolist() == [0, 1, 2, 3, 4, 5]
    assert informative(scores, 6).tolist() == [0, 1, 2, 3, 4, 5]
    # The two best are the third and the fifth; of the others the two latest.
    assert informative(scores, 4).tolist() == [2, 3, 4, 5]
    assert informative(np.zeros(5), 3).tolist() == [0, 3, 4]


@pytest.mark.parametrize("size", [12, 100])
def test_fits_in_steps_are_a_fit_at_once(size: int) -> None:
    """The kernel is not made anew for molecules that stay: the same to the last bit."""
    texts = breed(
        DRUGS,
        40,
        random.Random(3),
        rank_offset=3.6,
        crossover_share=0.8,
        mutation_share=0.3,
        max_atoms=50,
        is_new=lambda s: True,
    )
    scores = [OBJECTIVES["qed"](molecule) for molecule in read(texts)]
    grown, fresh = Surrogate(size, 0.01), Surrogate(size, 0.01)
    for count in (5, 11, 12, 13, 25, 40):
        grown.fit(texts[:count], scores[:count])
    fresh.fit(texts, scores)
    for one, other in zip(grown.predict(read(DRUGS)), fresh.predict(read(DRUGS)), strict=True):
        assert np.array_equal(one, other)


def test_promising_molecules_are_expected_to_be_good_or_unknown() -> None:
    surrogate = Surrogate(10, noise=0.01)
    surrogate.fit(["CCCCO", "C1CC1"], [1.0, 0.0])
    texts = ["C1CCC1", "CCCCCO", "Fc1ccccc1"]
    paid = [1.0, 1.0, 1.0]
    assert surrogate.promising(texts, 1, 0.0, paid) == ["CCCCCO"]
    assert surrogate.promising(texts, 1, 5.0, paid) == ["Fc1ccccc1"]
    assert surrogate.promising(texts, 3, 0.0, [1.0, 0.0, 1.0])[-1] == "CCCCCO"


def test_chosen_children_are_better_than_their_brood() -> None:
    """Children of drugs, likeness to celecoxib: the fifth that it picks against all of them."""
    is_like = OBJECTIVES["celecoxib_rediscovery"]
    options = {"rank_offset": 3.6, "crossover_share": 0.8, "mutation_share": 0.3, "max_atoms": 50}
    first = breed(DRUGS, 150, random.Random(1), is_new=lambda s: True, **options)
    scores = [is_like(molecule) for molecule in read(first)]
    ranked = [text for _, text in sorted(zip(scores, first, strict=True), reverse=True)]
    new = breed(ranked[:40], 100, random.Random(2), is_new=lambda s: s not in first, **options)
    surrogate = Surrogate(1000, 0.01)
    surrogate.fit(first, scores)
    chosen = surrogate.promising(new, 20, 0.0, [1.0] * len(new))
    everywhere = np.array([is_like(molecule) for molecule in read(new)])
    picked = np.array([is_like(molecule) for molecule in read(chosen)])
    assert picked.mean() > everywhere.mean() + everywhere.std()
