"""Regression trees as flat arrays, and their prediction in numpy.

Trees of one ensemble stand behind each other. Within a tree nodes are in breadth-first order and
the two children of a node are neighbours, so that a node needs one number for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio.errors import DataError

ARRAYS = {
    "split_feature": "int32",
    "split_threshold": "float64",
    "node_split": "int32",
    "node_child": "int32",
    "leaf_value": "float64",
    "tree_nodes": "int32",
    "member_trees": "int32",
}
"""The arrays of a forest and their types, in memory and in files."""
CHUNK = 256
"""Molecules that go through the trees together; it bounds the memory."""


@dataclass(slots=True, kw_only=True)
class Forest:
    """An ensemble of members, each a sum of trees; the arrays are checked when it is made.

    Raises:
        ValueError: the arrays do not describe trees; the message says how.
    """

    num_features: int
    split_feature: NDArray[np.int32]
    """[S] column that a split looks at."""
    split_threshold: NDArray[np.float64]
    """[S] finite; a row goes left where its feature is at most this."""
    node_split: NDArray[np.int32]
    """[N] the split of an inner node; 0 at leaves, where it means nothing."""
    node_child: NDArray[np.int32]
    """[N] place of the left child within the tree, the right one behind it; 0 at a leaf."""
    leaf_value: NDArray[np.float64]
    """[L] finite; of the leaves in the order of the nodes."""
    tree_nodes: NDArray[np.int32]
    """[T] nodes of each tree."""
    member_trees: NDArray[np.int32]
    """[K] trees of each member."""

    def __post_init__(self) -> None:
        for name, kind in ARRAYS.items():
            array = getattr(self, name)
            if array.ndim != 1 or array.dtype != np.dtype(kind) or not len(array):
                raise ValueError(
                    f"{name}: is {array.dtype}{list(array.shape)}, needs a filled {kind} vector"
                )
        self._check_numbers()
        self._check_trees()

    def _check_numbers(self) -> None:
        for name in ("split_threshold", "leaf_value"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name}: holds a number that is not finite")
        nodes, leaves = len(self.node_split), int((self.node_child == 0).sum())
        sums = {
            "node_child": (len(self.node_child), nodes),
            "tree_nodes": (int(self.tree_nodes.sum(dtype=np.int64)), nodes),
            "leaf_value": (len(self.leaf_value), leaves),
            "member_trees": (int(self.member_trees.sum(dtype=np.int64)), len(self.tree_nodes)),
            "split_threshold": (len(self.split_threshold), len(self.split_feature)),
        }
        for name, (found, wanted) in sums.items():
            if found != wanted:
                raise ValueError(f"{name}: stands for {found}, needs {wanted}")
        for name, high in (
            ("split_feature", self.num_features),
            ("node_split", len(self.split_feature)),
        ):
            array = getattr(self, name)
            if array.min() < 0 or array.max() >= high:
                raise ValueError(f"{name}: is outside 0 to {high - 1}")
        if self.tree_nodes.min() < 1 or self.member_trees.min() < 1:
            raise ValueError("tree_nodes, member_trees: a tree or member is empty")

    def _check_trees(self) -> None:
        """The pairs of children, in order, are 1 2, 3 4, ... of each tree: so each node has one
        parent; and a parent stands before its children: so there is no cycle."""
        starts = self._starts()
        place = np.arange(len(self.node_child)) - np.repeat(starts, self.tree_nodes)
        inner = self.node_child > 0
        before: NDArray[np.int64] = np.cumsum(inner) - inner
        rank: NDArray[np.int64] = before - np.repeat(before[starts], self.tree_nodes)
        if (self.node_child[inner] != 1 + 2 * rank[inner]).any():
            raise ValueError("node_child: children do not follow each other in order")
        if (self.node_child[inner] <= place[inner]).any():
            raise ValueError("node_child: a child stands before its parent")
        counts = np.add.reduceat(inner.astype(np.int64), starts)
        if (self.tree_nodes != 1 + 2 * counts).any():
            raise ValueError("node_child: the nodes of a tree are not 1 + 2 per inner node")

    def _starts(self) -> NDArray[np.int64]:
        """[T] place of each tree's root among all nodes."""
        return np.cumsum(self.tree_nodes, dtype=np.int64) - self.tree_nodes

    def members(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each member predicts.

        Args:
            rows: float [M, num_features], finite.

        Returns:
            float64 [M, K].
        """
        if rows.ndim != 2 or rows.shape[1] != self.num_features:
            raise ValueError(f"rows: {list(rows.shape)}, needs [M, {self.num_features}]")
        found = [self._members(rows[k : k + CHUNK]) for k in range(0, len(rows), CHUNK)]
        return np.concatenate(found) if found else np.zeros((0, len(self.member_trees)))

    def _members(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        # Each distinct split is decided once; the trees then follow integers alone. [M, S]
        right = rows[:, self.split_feature] > self.split_threshold
        starts = self._starts()
        child = np.where(
            self.node_child > 0, self.node_child + np.repeat(starts, self.tree_nodes), 0
        )
        state = np.tile(starts, len(rows))  # [M T]: where each molecule is in each tree
        walker = np.arange(len(state))
        while len(walker):
            here = state[walker]
            inner = child[here] > 0
            walker, here = walker[inner], here[inner]
            state[walker] = child[here] + right[walker // len(starts), self.node_split[here]]
        value = np.zeros(len(child))
        value[self.node_child == 0] = self.leaf_value
        sums = value[state].reshape(len(rows), -1)  # [M, T]
        firsts = np.cumsum(self.member_trees) - self.member_trees
        return np.add.reduceat(sums, firsts, axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a file holds of it."""
        return {name: getattr(self, name) for name in ARRAYS}


class ForestBuilder:
    """Collects trees that a library has grown into a Forest."""

    def __init__(self, num_features: int) -> None:
        self.num_features = num_features
        self._splits: dict[tuple[int, float], int] = {}
        self._node_split: list[int] = []
        self._node_child: list[int] = []
        self._leaf_value: list[float] = []
        self._tree_nodes: list[int] = []
        self._member_trees: list[int] = []

    def add_member(self, roots: list[Mapping[str, Any]]) -> None:
        """Add trees in the form of LightGBM's `dump_model`: nested `tree_structure`.

        Raises:
            ValueError: a split is not `feature <= threshold` on numbers without missing values.
        """
        for root in roots:
            self._add_tree(root)
        self._member_trees.append(len(roots))

    def _add_tree(self, root: Mapping[str, Any]) -> None:
        queue = [root]
        for node in queue:  # it grows while it is walked through: breadth first
            if "leaf_value" in node:
                self._node_split.append(0)
                self._node_child.append(0)
                self._leaf_value.append(float(node["leaf_value"]))
                continue
            kind = (node["decision_type"], node["missing_type"])
            threshold = float(node["threshold"])
            if kind != ("<=", "None") or not math.isfinite(threshold):
                raise ValueError(f"a split of kind {kind} at {threshold}; needs '<=', 'None'")
            key = (int(node["split_feature"]), threshold)
            self._node_split.append(self._splits.setdefault(key, len(self._splits)))
            self._node_child.append(len(queue))
            queue += [node["left_child"], node["right_child"]]
        self._tree_nodes.append(len(queue))

    def build(self) -> Forest:
        """The forest of the members so far.

        Raises:
            DataError: no tree has a split.
        """
        if not self._splits:
            raise DataError(
                "no tree finds anything to tell the molecules apart by; the values do not follow "
                "from the structures, or the molecules are too few"
            )
        lists: dict[str, Any] = {
            "split_feature": [feature for feature, _ in self._splits],
            "split_threshold": [threshold for _, threshold in self._splits],
            "node_split": self._node_split,
            "node_child": self._node_child,
            "leaf_value": self._leaf_value,
            "tree_nodes": self._tree_nodes,
            "member_trees": self._member_trees,
        }
        arrays: dict[str, Any] = {n: np.array(lists[n], dtype=kind) for n, kind in ARRAYS.items()}
        return Forest(num_features=self.num_features, **arrays)
