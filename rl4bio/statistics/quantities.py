"""What a run optimised, in its own units: the raw values of its rewards, and which way is better.

Columns have the names that the files of molecules give them: `raw_<name>` is a quantity,
`raw_<name>_score` (of the parts and filters of `combined`) or `reward_<name>` what it scores in
[0, 1]. A quantity with a score is an objective; others, such as the similarity to the molecules
that a predictor knows, are shown beside them. `raw_<name>_domain` of 0 says that a prediction is
worth nothing, for the molecule lies outside of what its predictor has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl4bio.statistics.pareto import pareto_front
from rl4bio.statistics.ranks import spearman

CLEAR_RANK_CORRELATION = 0.3
"""Between a quantity and its score; below it, the score follows no direction, as with a range."""
FEWEST_VALUES = 3
"""Different values that an objective of the picture has at least; 0 and 1 make no picture."""

_TITLES = {
    "qed": "QED",
    "logp": "logP",
    "sa": "SA",
    "tpsa": "TPSA (Å²)",
    "molecular_weight": "molecular weight (g/mol)",
    "affinity": "predicted affinity (−log₁₀ M)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of the picture."""

    column: str
    title: str
    sign: int
    """1: higher is better; -1: lower is."""

    @property
    def better(self) -> str:
        """Which way is better, in a word."""
        return "higher" if self.sign > 0 else "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tradeoff:
    """n molecules in two objectives."""

    objectives: tuple[Axis, Axis]
    values: NDArray[np.float64]
    """[n, 2], in the objectives' own units."""
    on_front: NDArray[np.bool_]
    """[n], not dominated by another accepted one."""
    accepted: NDArray[np.bool_]
    """[n]; False where some score is 0: outside a predictor's domain, or refused by a filter."""


def score_columns(columns: Iterable[str]) -> dict[str, str]:
    """Objective -> the column of its score, in the order of the columns."""
    names = list(columns)
    known = set(names)
    found: dict[str, str] = {}
    for column in names:
        if not column.startswith("raw_"):
            continue
        scores = (f"{column}_score", column.replace("raw_", "reward_", 1))
        score = next((name for name in scores if name in known), None)
        if score is not None:
            found[column] = score
    return found


def quantity_columns(columns: Iterable[str]) -> list[str]:
    """The raw values without the scores of the objectives among them."""
    names = list(columns)
    scores = set(score_columns(names).values())
    return [name for name in names if name.startswith("raw_") and name not in scores]


def quantity_titles(columns: Sequence[str]) -> dict[str, str]:
    """How each quantity is called: the last part of its name, or all of it where two share that."""
    keys = {column: column.removeprefix("raw_").rpartition(".")[2] for column in columns}
    shared = list(keys.values())
    return {
        column: _TITLES.get(key, key.replace("_", " "))
        if shared.count(key) == 1
        else column.removeprefix("raw_")
        for column, key in keys.items()
    }


def tradeoff(table: Mapping[str, ArrayLike]) -> Tradeoff | None:
    """The front in the first two objectives that vary, as the rewards list them.

    Args:
        table: column -> n numbers of n different valid molecules, NaN where there is none.

    Returns:
        None where there are not two objectives with at least `FEWEST_VALUES` values each among
        the accepted molecules.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in table.items()}
    scores = score_columns(arrays)
    if not scores:
        return None
    accepted = ~np.any([arrays[name] == 0 for name in scores.values()], axis=0)
    varying = [name for name in scores if _num_values(arrays[name][accepted]) >= FEWEST_VALUES][:2]
    if len(varying) < 2:
        return None
    titles = quantity_titles(list(scores))
    objectives = [
        _objective(name, scores[name], titles[name], arrays, accepted) for name in varying
    ]
    values = np.stack([arrays[o.column] for o in objectives], axis=1)
    rated = np.where(accepted[:, None], values * [o.sign for o in objectives], np.nan)
    on_front = pareto_front(rated)
    if not on_front.any():  # no molecule has both
        return None
    return Tradeoff(
        objectives=(objectives[0], objectives[1]),
        values=values,
        on_front=on_front,
        accepted=accepted,
    )


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """`spearman` over the rows where both are known."""
    known = ~(np.isnan(first) | np.isnan(second))
    return spearman(first[known], second[known])


def _objective(
    column: str,
    score: str,
    title: str,
    arrays: Mapping[str, NDArray[np.float64]],
    accepted: NDArray[np.bool_],
) -> Axis:
    """The quantity with the direction in which its score rises, or else the score itself."""
    rho = rank_correlation(arrays[column][accepted], arrays[score][accepted])
    if abs(rho) >= CLEAR_RANK_CORRELATION:
        return Axis(column=column, title=title, sign=1 if rho > 0 else -1)
    return Axis(column=score, title=f"score of {title}", sign=1)


def _num_values(values: NDArray[np.float64]) -> int:
    return len(np.unique(values[~np.isnan(values)]))
