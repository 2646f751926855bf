"""Trees as arrays: their numbers, LightGBM's numbers, and arrays that are no trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rl4bio.predictors.forest import ARRAYS, CHUNK, Forest, ForestBuilder
from rl4bio.predictors.training import TreeOptions, grow_forest


def arrays(**changes: Any) -> dict[str, Any]:
    """One member of two trees over two features: x0 <= 1 ? (x1 <= -1 ? 1 : 2) : 4, and 10."""
    made: dict[str, Any] = {
        "split_feature": [0, 1],
        "split_threshold": [1.0, -1.0],
        "node_split": [0, 1, 0, 0, 0, 0],
        "node_child": [1, 3, 0, 0, 0, 0],
        "leaf_value": [4.0, 1.0, 2.0, 10.0],
        "tree_nodes": [5, 1],
        "member_trees": [2],
    }
    made.update(changes)
    return {name: np.array(made[name], dtype=kind) for name, kind in ARRAYS.items()}


def test_a_tree_by_hand() -> None:
    forest = Forest(num_features=2, **arrays())
    rows = np.array([[1, -1], [1, -0.5], [1.5, -1], [-9, 9]], dtype=np.float32)
    # At a threshold a row goes left; the second tree adds 10 to all.
    assert forest.members(rows).tolist() == [[11], [12], [14], [12]]
    assert forest.members(rows[:0]).shape == (0, 1)


def test_members_are_sums_of_their_own_trees() -> None:
    forest = Forest(num_features=2, **arrays(member_trees=[1, 1]))
    assert forest.members(np.zeros((1, 2), np.float32)).tolist() == [[2, 10]]


def test_the_builder_and_the_arrays_agree() -> None:
    def node(feature: int, threshold: float, left: Any, right: Any) -> dict[str, Any]:
        kind = {"decision_type": "<=", "missing_type": "None"}
        place = {"split_feature": feature, "threshold": threshold}
        return {**kind, **place, "left_child": left, "right_child": right}

    leaf = [{"leaf_value": value} for value in (1.0, 2.0, 4.0, 10.0)]
    builder = ForestBuilder(2)
    builder.add_member([node(0, 1.0, node(1, -1.0, leaf[0], leaf[1]), leaf[2]), leaf[3]])
    built = builder.build().arrays()
    for name, array in arrays().items():
        assert built[name].tolist() == array.tolist(), name
    with pytest.raises(ValueError, match="a split of kind"):
        builder.add_member([{**node(0, 1.0, leaf[0], leaf[1]), "missing_type": "Zero"}])


@pytest.mark.parametrize("rows", [1, CHUNK + 3])
def test_as_lightgbm_itself_predicts(rows: int) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    # Counts with many zeros, as fingerprints are, and two columns of any number.
    x = draw.poisson(0.4, (400, 30)).astype(np.float32)
    x[:, -2:] = draw.normal(size=(400, 2))
    y = x[:, 0] - x[:, 1] * x[:, -1] + draw.normal(size=400) * 0.1
    options = TreeOptions(members=2, trees=30, leaves=15, column_fraction=0.7)
    ours = grow_forest(x, y, options)

    theirs: list[Any] = []
    train = lightgbm.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            lightgbm, "train", lambda *a, **k: theirs.append(train(*a, **k)) or theirs[-1]
        )
        again = grow_forest(x, y, options)
    new = draw.poisson(0.4, (rows, 30)).astype(np.float32)
    new[:, -1] = 0  # thresholds at zero are where a mistake would hide
    expected = np.stack([booster.predict(new) for booster in theirs], axis=1)
    np.testing.assert_allclose(ours.members(new), expected, rtol=0, atol=1e-9)
    assert (ours.members(new) == again.members(new)).all()  # the same seed, the same trees
    assert np.ptp(expected, axis=1).max() > 0.01  # the members differ


def test_the_seed_makes_other_trees() -> None:
    pytest.importorskip("lightgbm")
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    one, two = (
        grow_forest(x, x[:, 0].astype(float), TreeOptions(members=1, trees=3, seed=seed))
        for seed in (0, 1)
    )
    assert (one.members(x) != two.members(x)).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leaf_value": [4, 1, 2, np.nan]}, "leaf_value: holds a number that is not finite"),
        ({"split_threshold": [1, np.inf]}, "split_threshold: holds a number that is not"),
        ({"split_feature": [0, 2]}, "split_feature: is outside 0 to 1"),
        ({"split_feature": [0, -1]}, "split_feature: is outside"),
        ({"node_split": [0, 2, 0, 0, 0, 0]}, "node_split: is outside 0 to 1"),
        ({"node_split": [0, 1, 0, 0, 0]}, "node_child: stands for 6, needs 5"),
        ({"leaf_value": [4, 1, 2]}, "leaf_value: stands for 3, needs 4"),
        ({"tree_nodes": [5, 2]}, "tree_nodes: stands for 7, needs 6"),
        ({"tree_nodes": [6, 0]}, "a tree or member is empty"),
        ({"member_trees": [3]}, "member_trees: stands for 3, needs 2"),
        ({"member_trees": [3, -1]}, "a tree or member is empty"),
        ({"split_threshold": [1.0]}, "split_threshold: stands for 1, needs 2"),
        ({"split_threshold": []}, "split_threshold: is float64"),
        # Each would read another node's children, or walk in a circle.
        ({"node_child": [3, 1, 0, 0, 0, 0]}, "do not follow each other"),
        ({"node_child": [1, 1, 0, 0, 0, 0]}, "do not follow each other"),
        ({"node_child": [1, 5, 0, 0, 0, 0]}, "do not follow each other"),
        ({"node_child": [0, 1, 3, 0, 0, 0]}, "a child stands before its parent"),
        ({"tree_nodes": [3, 3]}, "do not follow each other|are not 1 \\+ 2"),
    ],
)
def test_arrays_that_are_no_trees(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Forest(num_features=2, **arrays(**changes))


def test_rows_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"rows: \[1, 3\], needs \[M, 2\]"):
        Forest(num_features=2, **arrays()).members(np.zeros((1, 3), np.float32))
