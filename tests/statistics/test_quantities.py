"""rl4bio.statistics.quantities: which columns are objectives, which way is better, the front."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl4bio.statistics.quantities import (
    quantity_columns,
    quantity_titles,
    rank_correlation,
    score_columns,
    tradeoff,
)

COMBINED = [
    "reward_combined",
    "raw_combined.affinity",
    "raw_combined.affinity_similarity",
    "raw_combined.affinity_domain",
    "raw_combined.affinity_score",
    "raw_combined.sa",
    "raw_combined.sa_score",
]


def test_objectives_have_a_score() -> None:
    assert score_columns(COMBINED) == {
        "raw_combined.affinity": "raw_combined.affinity_score",
        "raw_combined.sa": "raw_combined.sa_score",
    }
    assert score_columns(["total", "reward_qed", "raw_qed", "raw_odd"]) == {"raw_qed": "reward_qed"}
    assert quantity_columns(COMBINED) == [
        "raw_combined.affinity",
        "raw_combined.affinity_similarity",
        "raw_combined.affinity_domain",
        "raw_combined.sa",
    ]


def test_titles_are_short_where_that_is_clear() -> None:
    titles = quantity_titles(["raw_combined.sa", "raw_combined.affinity_domain", "raw_odd"])
    assert list(titles.values()) == ["SA", "affinity domain", "odd"]
    shared = quantity_titles(["raw_combined.sa", "raw_sa"])
    assert list(shared.values()) == ["combined.sa", "sa"]


def table(**columns: list[float]) -> dict[str, list[float]]:
    names = {"a": "raw_a", "b": "raw_b", "a_score": "reward_a", "b_score": "reward_b"}
    return {names[name]: values for name, values in columns.items()}


def test_the_score_says_which_way_is_better() -> None:
    # a is rewarded where it is high, b where it is low. (3, 3), (2, 2) and (1, 1) are a front;
    # (1, 3) loses to every one of them.
    found = tradeoff(
        table(
            a=[3, 2, 1, 1],
            b=[3, 2, 1, 3],
            a_score=[0.9, 0.5, 0.1, 0.1],
            b_score=[0.1, 0.5, 0.9, 0.1],
        )
    )
    assert found is not None
    assert [(o.title, o.better) for o in found.objectives] == [("a", "higher"), ("b", "lower")]
    assert found.on_front.tolist() == [True, True, True, False]
    assert found.accepted.all()


def test_a_range_is_judged_by_its_score() -> None:
    """b should be near 3: its score rises and falls, and stands for it."""
    found = tradeoff(
        table(
            a=[1, 2, 3, 4, 5],
            b=[1, 2, 3, 4, 5],
            a_score=[0.1, 0.2, 0.3, 0.4, 0.5],
            b_score=[0.1, 0.5, 0.9, 0.5, 0.1],
        )
    )
    assert found is not None
    assert found.objectives[1].column == "reward_b"
    assert found.objectives[1].title == "score of b"
    assert found.values[:, 1].tolist() == [0.1, 0.5, 0.9, 0.5, 0.1]
    assert found.on_front.tolist() == [False, False, True, True, True]


def test_what_some_reward_refuses_is_not_on_the_front() -> None:
    """The last one would beat all others, but its score is 0: outside of the domain."""
    rising = [0.1, 0.2, 0.3]
    found = tradeoff(
        table(a=[1, 2, 3, 9], b=[1, 2, 3, 9], a_score=[*rising, 0], b_score=[*rising, 0.9])
    )
    assert found is not None
    assert found.accepted.tolist() == [True, True, True, False]
    assert found.on_front.tolist() == [False, False, True, False]
    filtered = {
        **table(a=[1, 2, 3, 9], b=[1, 2, 3, 9], a_score=[*rising, 1], b_score=[*rising, 1]),
        "raw_c.new": [1, 1, 1, 0],
        "raw_c.new_score": [1, 1, 1, 0],
    }
    found = tradeoff(filtered)
    assert found is not None
    assert found.on_front.tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"raw_a": [1.0, 2, 3], "reward_a": [0.1, 0.2, 0.3]},
        # The second quantity has two values, or none that can be known, or not beside the first.
        {"raw_b": [0.0, 1, 1], "reward_b": [0.1, 0.2, 0.3]},
        {"raw_b": [math.nan] * 3, "reward_b": [math.nan] * 3},
    ],
)
def test_no_picture_without_two_objectives(columns: dict[str, list[float]]) -> None:
    first = {"raw_a": [1.0, 2, 3], "reward_a": [0.1, 0.2, 0.3]}
    assert tradeoff({**first, **columns} if columns else {}) is None


def test_no_picture_where_no_molecule_has_both() -> None:
    nan = math.nan
    a, b = [1.0, 2, 3, nan, nan, nan], [nan, nan, nan, 1.0, 2, 3]
    assert tradeoff({"raw_a": a, "reward_a": a, "raw_b": b, "reward_b": b}) is None


def test_rank_correlation_by_hand() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: the sum of products about the means is
    # (-1.5)(-1.5) + 0 + 0 + 1.5 * 1.5 = 4.5, the norms are sqrt(4.5) and sqrt(5).
    first, second = np.array([1.0, 5, 5, 9]), np.array([0.0, 1, 2, 3])
    assert rank_correlation(first, second) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert rank_correlation(first, -np.exp(first)) == pytest.approx(-1)
    holes = np.array([1.0, 2, math.nan, 3])
    assert rank_correlation(holes, np.array([1.0, 2, 0, 3])) == pytest.approx(1)
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
    assert math.isnan(rank_correlation(np.array([]), np.array([])))
