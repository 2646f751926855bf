"""A predictor small enough to know its numbers by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rl4bio.chem.features import FEATURE_SETS, domain_bits
from rl4bio.chem.reading import read_smiles
from rl4bio.predictors.forest import Forest, ForestBuilder
from rl4bio.predictors.predictor import Target

WIDTH = FEATURE_SETS["counts-1"][0]
HEAVY_ATOMS = WIDTH - 11
"""Column of the number of heavy atoms in counts-1: its second property of 12."""


def split(feature: int, threshold: float, left: Any, right: Any) -> dict[str, Any]:
    """A node as LightGBM's dump_model writes it; leaves are numbers."""
    sides = [{"leaf_value": side} if isinstance(side, float) else side for side in (left, right)]
    return {
        "split_feature": feature,
        "threshold": threshold,
        "decision_type": "<=",
        "missing_type": "None",
        "left_child": sides[0],
        "right_child": sides[1],
    }


@pytest.fixture
def size_forest() -> Forest:
    """Member 1: 5 up to three heavy atoms, 7 up to six, else 8. Member 2: 5 up to three, else 9."""
    builder = ForestBuilder(WIDTH)
    builder.add_member([split(HEAVY_ATOMS, 3.5, 5.0, split(HEAVY_ATOMS, 6.5, 7.0, 8.0))])
    builder.add_member([split(HEAVY_ATOMS, 3.5, 1.0, 5.0), {"leaf_value": 4.0}])
    return builder.build()


@pytest.fixture
def make_target(size_forest: Forest) -> Callable[..., Target]:
    """A target of that forest, trained, it says, on the molecules given."""

    def make(*smiles: str, **changes: Any) -> Target:
        molecules = [read_smiles(text) for text in smiles or ("CCO", "c1ccccc1")]
        made = {
            "features": "counts-1",
            "forest": size_forest,
            "domain": domain_bits(molecules),
            "low": 5.0,
            "high": 9.0,
        }
        return Target(**{**made, **changes})

    return make
