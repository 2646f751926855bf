"""rl4bio.statistics.molecules: shares by hand, an oracle on real molecules, determinism."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from rl4bio.statistics.molecules import read_reference, summarize_molecules
from rl4bio.types import ScoreTable

TEXTS = ["CCO", "OCC", "c1ccccc1", "C(", "", "CCN"]
"""Ethanol twice, benzene, two that are none, ethylamine."""


def scores(total: list[float]) -> ScoreTable:
    return ScoreTable(total=total, parts={"a": total}, weights={"a": 1.0})


def real_smiles(folder: Path, count: int) -> list[str]:
    with gzip.open(folder / "smiles" / "moses2_sample.csv.gz", "rt") as stream:
        return [row["smiles"] for _, row in zip(range(count), csv.DictReader(stream), strict=False)]


def test_shares_by_hand() -> None:
    found = summarize_molecules(
        TEXTS,
        reference=["OCC", "CCCC", "nonsense"],
        rounds=100,
        seed=1,
        scores=scores([1.0, 0.5, 0.25, 0.75, math.nan, math.nan]),
    )
    assert found.num_molecules == 6
    assert found.validity.value == pytest.approx(4 / 6)
    assert found.unique == pytest.approx(3 / 4)
    assert found.novelty.value == pytest.approx(2 / 3)  # ethanol is known
    assert found.scaffold_diversity == pytest.approx(1 / 4)  # benzene's alone
    assert (found.num_reference, found.num_subset) == (2, 2)
    # What is invalid earns 0 whatever the scorer said; what is valid and unscored is left out.
    assert found.reward_all.value == pytest.approx((1.0 + 0.5 + 0.25 + 0 + 0) / 5)
    assert found.reward_valid.value == pytest.approx(1.75 / 3)
    assert found.rewards["a"].value == pytest.approx(2.5 / 4)
    weights = [46.069, 46.069, 78.114, 45.085]
    assert found.properties["molecular_weight"].value == pytest.approx(np.mean(weights), abs=1e-3)
    assert found.high_qed.value == 0.0


def test_without_a_reference_and_without_scores() -> None:
    found = summarize_molecules(TEXTS, rounds=20, seed=1)
    assert math.isnan(found.snn)
    assert math.isnan(found.novelty.value)
    assert math.isnan(found.reward_all.value)
    assert found.rewards == {}
    assert found.num_reference == 0


def test_quantities_and_hits_by_hand() -> None:
    """Ethanol (twice), benzene and ethylamine; benzene lies outside of the predictor's domain."""
    nan = math.nan
    raw = {
        "affinity": [7.0, 7.0, 9.0, nan, nan, 6.0],
        "affinity_domain": [1.0, 1.0, 0.0, nan, nan, 0.5],
    }
    total = [0.5] * len(TEXTS)
    table = ScoreTable(total=total, parts={"affinity": total}, weights={"affinity": 1.0}, raw=raw)
    found = summarize_molecules(
        TEXTS, rounds=100, seed=1, scores=table, goals={"affinity": [6.5, None]}
    )
    assert found.raw["affinity"].value == pytest.approx((7.0 + 6.0) / 2)
    assert (found.raw["affinity"].low, found.raw["affinity"].high) == (6.0, 7.0)
    assert found.inside["affinity"].value == pytest.approx(2 / 3)
    assert found.hits.value == pytest.approx(1 / 6)  # ethanol once, of six texts
    assert math.isnan(summarize_molecules(TEXTS, rounds=20, seed=1, scores=table).hits.value)


@pytest.mark.parametrize("texts", [[], ["C(", "="]])
def test_nothing_valid_is_undefined_and_no_error(texts: list[str]) -> None:
    found = summarize_molecules(
        texts, reference=["C"], rounds=20, seed=1, scores=scores([0.5] * len(texts))
    )
    for value in (found.unique, found.internal_diversity, found.snn, found.scaffold_diversity):
        assert math.isnan(value)
    assert math.isnan(found.properties["qed"].value)
    assert math.isnan(found.reward_valid.value)
    assert found.reward_all.value == 0.0 if texts else math.isnan(found.reward_all.value)


def test_real_molecules_against_plain_rdkit(shared_data: Path) -> None:
    smiles = real_smiles(shared_data, 120)
    written, reference = smiles[:60] + smiles[:20], smiles[50:]
    found = summarize_molecules(written, reference=reference, rounds=200, seed=3)
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    mols = [Chem.MolFromSmiles(text) for text in written]
    bits, known = (
        np.array([list(maker.GetFingerprint(m)) for m in found])
        for found in (mols, [Chem.MolFromSmiles(text) for text in reference])
    )
    shared = bits @ known.T
    similarity = shared / (bits.sum(1)[:, None] + known.sum(1)[None] - shared)
    assert found.snn == pytest.approx(similarity.max(1).mean())
    own = bits @ bits.T
    pairs = own / (bits.sum(1)[:, None] + bits.sum(1)[None] - own)
    assert found.internal_diversity == pytest.approx(1 - pairs.mean())
    assert found.unique == pytest.approx(60 / 80)
    assert found.novelty.value == pytest.approx(50 / 60)
    assert found.validity.value == 1.0
    values = [Descriptors.qed(mol) for mol in mols]
    assert found.properties["qed"].value == pytest.approx(np.mean(values))
    # The interval is about two standard errors wide on both sides.
    half = (found.properties["qed"].high - found.properties["qed"].low) / 2
    assert half == pytest.approx(1.96 * np.std(values) / math.sqrt(len(values)), rel=0.25)


def test_the_same_arguments_give_the_same_summary() -> None:
    texts = [*TEXTS, "CCCl", "CCBr", "CCF"]
    reward = scores([0.1 * k for k in range(len(texts))])
    first, again, other, read = (
        summarize_molecules(texts, reference=reference, rounds=50, seed=seed, scores=reward)
        for reference, seed in (
            (["CCO"], 1),
            (["CCO"], 1),
            (["CCO"], 2),
            (read_reference(["CCO"]), 1),
        )
    )
    assert first == again == read
    assert first.validity != other.validity  # the interval is drawn with the seed
