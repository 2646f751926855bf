"""Growing the trees with LightGBM; nothing of it is needed to predict.

Ke et al., 2017, "LightGBM: a highly efficient gradient boosting decision tree".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.features import domain_bits, feature_rows
from rl4bio.chem.reading import Molecule
from rl4bio.errors import DataError, MissingPackageError
from rl4bio.predictors.forest import Forest, ForestBuilder
from rl4bio.predictors.predictor import Target
from rl4bio.sections.checks import at_least

FEATURES = "counts-1"
FEWEST_MOLECULES = 20
"""Of a training set; below it no split of the trees has molecules enough on both sides."""


@dataclass(kw_only=True)
class TreeOptions:
    """How an ensemble is grown; found on EGFR and BACE, see experiments/affinity."""

    members: int = 5
    """Boosted models that differ by their seed alone; their spread says how sure they are."""
    trees: int = 250
    """Per member."""
    leaves: int = 47
    learning_rate: float = 0.1
    min_leaf_molecules: int = 8
    row_fraction: float = 0.8
    """Share of the molecules that a tree sees, drawn anew for each."""
    column_fraction: float = 0.05
    """Share of the features that a tree sees."""
    l2: float = 1.0
    bins: int = 63
    """Different values that a feature is grouped into; fragment counts have fewer."""
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        at_least(1, members=self.members, trees=self.trees, threads=self.threads)
        at_least(1, min_leaf_molecules=self.min_leaf_molecules)
        at_least(2, leaves=self.leaves)


def train_target(
    molecules: Sequence[Molecule],
    values: NDArray[np.float64],
    options: TreeOptions,
    *,
    rows: NDArray[np.float32] | None = None,
) -> Target:
    """A predictor of one target, from all molecules given.

    Args:
        molecules: N valid ones, in one piece, no two the same.
        values: float64 [N]: pIC50 or the like.
        options: of the trees.
        rows: their features, where they are known already.

    Raises:
        MissingPackageError: lightgbm is not installed.
        DataError: too few molecules, or all values are equal.
    """
    check_enough(values)
    rows = feature_rows(molecules, FEATURES) if rows is None else rows
    return Target(
        features=FEATURES,
        forest=grow_forest(rows, values, options),
        domain=domain_bits(molecules),
        low=float(values.min()),
        high=float(values.max()),
    )


def check_enough(values: NDArray[np.float64], *, held_out: str = "") -> None:
    """Whether trees can be grown from values.

    Args:
        values: float64 [N].
        held_out: the split that left them for training, for the message.

    Raises:
        DataError: they are too few, or all equal.
    """
    where = f"; the {held_out} split holds out the others: give more, or --seeds 0" * bool(held_out)
    if len(values) < FEWEST_MOLECULES:
        raise DataError(
            f"{len(values)} molecules are left to learn from, needs at least "
            f"{FEWEST_MOLECULES}{where}"
        )
    if np.ptp(values) == 0:
        raise DataError(
            f"all {len(values)} molecules to learn from have the value {values[0]:g}, which leaves "
            f"nothing to learn{where}"
        )


def grow_forest(
    rows: NDArray[np.float32], values: NDArray[np.float64], options: TreeOptions
) -> Forest:
    """An ensemble of boosted trees.

    Args:
        rows: float32 [N, F], finite.
        values: float64 [N].
        options: of the trees.

    Raises:
        MissingPackageError: lightgbm is not installed.
    """
    lightgbm = check_lightgbm()
    parameters = {
        "objective": "regression",
        "num_leaves": options.leaves,
        "learning_rate": options.learning_rate,
        "min_data_in_leaf": options.min_leaf_molecules,
        "bagging_fraction": options.row_fraction,
        "bagging_freq": 1,
        "feature_fraction": options.column_fraction,
        "lambda_l2": options.l2,
        "max_bin": options.bins,
        "use_missing": False,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": options.threads,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(rows, values, params=parameters, free_raw_data=False)
    builder = ForestBuilder(rows.shape[1])
    for member in range(options.members):
        seeded = {**parameters, "seed": options.seed * 1000 + member}
        booster = lightgbm.train(seeded, data, num_boost_round=options.trees)
        trees = booster.dump_model()["tree_info"]
        builder.add_member([tree["tree_structure"] for tree in trees])
    return builder.build()


def plain_options(options: TreeOptions) -> dict[str, Any]:
    """The options as a file keeps them."""
    return asdict(options)


def check_lightgbm() -> Any:
    """The module lightgbm.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise MissingPackageError(
            "training an affinity predictor needs lightgbm, which is not installed (prediction "
            'does not): pip install "rl4bio[affinity]"'
        ) from error
    return lightgbm
