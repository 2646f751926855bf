"""Predictions of molecules, and how near they are to known ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rdkit import DataStructs

from rl4bio.chem.features import domain_bits
from rl4bio.chem.reading import read_smiles
from rl4bio.predictors.predictor import Target, nearest_tanimoto


def test_mean_and_spread_by_hand(make_target: Callable[..., Target]) -> None:
    two, five, ten = make_target().predict([read_smiles(s) for s in ("CC", "CCCCC", "C" * 10)])
    # Members: 5 and 1 + 4; 7 and 5 + 4; 8 and 9.
    assert [two.affinity, five.affinity, ten.affinity] == [5, 8, 8.5]
    assert [two.spread, five.spread, ten.spread] == [0, 1, 0.5]
    assert make_target().predict([]) == []


def test_a_salt_is_its_largest_fragment(make_target: Callable[..., Target]) -> None:
    target = make_target("CCCCCN")
    salt, free = target.predict([read_smiles("Cl.CCCCCN"), read_smiles("CCCCCN")])
    assert salt == free
    assert free.similarity == 1


def test_a_molecule_is_itself_in_any_spelling_and_company(
    make_target: Callable[..., Target],
) -> None:
    target = make_target()
    alone = target.predict([read_smiles("OCC")])
    assert target.predict([read_smiles("c1ccccc1"), read_smiles("CCO")])[1:] == alone


def test_nearest_neighbour_by_hand() -> None:
    bits = np.zeros((4, 64), dtype=np.uint8)
    bits[0, :4] = 1  # four bits
    bits[1, :2] = 1  # two of them
    bits[2, 2:6] = 1  # two of them and two others
    packed = np.packbits(bits, axis=1)
    # 0 and 1: 2/4; 0 and 2: 2/6; an empty one shares nothing, and is like an empty one.
    assert nearest_tanimoto(packed[:1], packed[1:3]).tolist() == [2 / 4]
    assert nearest_tanimoto(packed[:1], packed[2:]).tolist() == [2 / 6]
    assert nearest_tanimoto(packed[3:], packed[:3]).tolist() == [0]
    assert nearest_tanimoto(packed, packed).tolist() == [1, 1, 1, 1]


def test_nearest_neighbour_as_rdkit_finds_it() -> None:
    texts = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O", "CCN(CC)CC"]
    packed = domain_bits([read_smiles(text) for text in texts])
    vectors = [
        DataStructs.CreateFromBitString("".join(map(str, np.unpackbits(row)))) for row in packed
    ]
    for row, vector in enumerate(vectors):
        others = [other for other in range(len(texts)) if other != row]
        expected = max(DataStructs.BulkTanimotoSimilarity(vector, [vectors[o] for o in others]))
        found = nearest_tanimoto(packed[row : row + 1], packed[others])
        assert found[0] == pytest.approx(expected)
        assert 0 < found[0] < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "counts-0"}, "features: 'counts-0' is not known"),
        ({"domain": np.zeros((2, 255), np.uint8)}, r"domain: is uint8\[2, 255\]"),
        ({"domain": np.zeros((0, 256), np.uint8)}, r"domain: is uint8\[0, 256\]"),
        ({"domain": np.zeros((2, 256))}, "domain: is float64"),
        ({"low": 9.0}, "low must be below high"),
    ],
)
def test_parts_that_do_not_fit(
    changes: dict[str, Any], message: str, make_target: Callable[..., Target]
) -> None:
    with pytest.raises(ValueError, match=message):
        make_target(**changes)
