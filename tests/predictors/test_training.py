"""What training refuses; that it learns is in tests/test_affinity.py."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rl4bio.chem.reading import read_smiles
from rl4bio.errors import DataError, MissingPackageError
from rl4bio.predictors.training import TreeOptions, grow_forest, train_target


def test_too_little_to_learn_from() -> None:
    molecules = [read_smiles("C" * k) for k in range(1, 31)]
    with pytest.raises(DataError, match="19 molecules are left to learn from, needs at least 20"):
        train_target(molecules[:19], np.arange(19.0), TreeOptions())
    with pytest.raises(DataError, match=r"all 30 molecules to learn from have the value 1"):
        train_target(molecules, np.ones(30), TreeOptions())
    with pytest.raises(DataError, match="0 molecules"):
        train_target([], np.zeros(0), TreeOptions())


def test_without_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingPackageError, match=r'pip install "rl4bio\[affinity\]"'):
        grow_forest(np.zeros((30, 2), np.float32), np.arange(30.0), TreeOptions())


@pytest.mark.parametrize("option", [{"members": 0}, {"trees": 0}, {"leaves": 1}, {"threads": 0}])
def test_options_are_checked(option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}: got"):
        TreeOptions(**option)
