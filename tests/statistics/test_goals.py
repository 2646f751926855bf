"""rl4bio.statistics.goals: which raw value a goal names, the domain, hits by hand."""

from __future__ import annotations

import math

import pytest

from rl4bio.chem.reading import read_smiles
from rl4bio.errors import ConfigError
from rl4bio.statistics.goals import (
    goals_text,
    hit_flags,
    inside_flags,
    quantity_values,
    resolve_goal,
)

MOLECULES = [read_smiles(text) for text in ("CCO", "C(", "c1ccccc1O", "CCO", "CCN")]
ROWS = [0, 2, 4]
"""The distinct valid ones."""
RAW = {
    "combined.affinity": [7.5, math.nan, 8.0, 7.5, 6.0],
    "combined.affinity_domain": [1.0, math.nan, 0.0, 1.0, 0.4],
    "combined.affinity_score": [0.9, 0.0, 0.0, 0.9, 0.1],
    "combined.qed": [0.4, math.nan, 0.5, 0.4, math.nan],
    "combined.qed_score": [0.4, 0.0, 0.5, 0.4, 0.4],
}


def test_predictions_count_inside_their_domain_alone() -> None:
    found = quantity_values(RAW, ROWS)
    assert found["combined.affinity"] == [7.5, 6.0]
    assert found["combined.affinity_domain"] == [1.0, 0.0, 0.4]
    assert found["combined.qed"][:2] == [0.4, 0.5]
    assert not [name for name in found if name.endswith("_score")]
    assert inside_flags(RAW, ROWS) == {"combined.affinity": [1.0, 0.0, 1.0]}


def test_hits_by_hand() -> None:
    """Row 0 reaches 7; row 2 does, but outside the domain; row 3 is a copy; row 4 does not."""
    assert hit_flags(MOLECULES, ROWS, RAW, {"affinity": [7, None]}) == [1, 0, 0, 0, 0]
    assert hit_flags(MOLECULES, ROWS, RAW, {"affinity": [None, 7]}) == [0, 0, 0, 0, 1]
    # Both limits belong to the range. An unknown number (row 4's QED) reaches nothing.
    assert hit_flags(MOLECULES, ROWS, RAW, {"combined.qed": [0.4, 0.5]}) == [1, 0, 1, 0, 0]
    # Ethanol and ethylamine have 3 heavy atoms, phenol 7: a property needs no reward.
    goals = {"heavy_atoms": [None, 3], "affinity": [6, None]}
    assert hit_flags(MOLECULES, ROWS, RAW, goals) == [1, 0, 0, 0, 1]


def test_names_of_goals() -> None:
    assert resolve_goal("affinity", list(RAW)) == "combined.affinity"
    assert resolve_goal("combined.qed", list(RAW)) == "combined.qed"
    assert resolve_goal("sa", list(RAW)) is None
    assert resolve_goal("sa", ["combined.sa"]) == "combined.sa"
    with pytest.raises(ConfigError, match=r"evaluation\.goals\.afinity.*did you mean 'affinity'"):
        resolve_goal("afinity", ["affinity"])
    with pytest.raises(ConfigError, match=r"may be any of a\.qed, b\.qed; write one"):
        resolve_goal("qed", ["a.qed", "b.qed"])


def test_goals_in_words() -> None:
    goals = {"affinity": [7, None], "sa": [None, 4], "logp": [1.5, 3]}
    assert goals_text(goals) == "affinity at least 7, sa at most 4, logp at least 1.5 and at most 3"
