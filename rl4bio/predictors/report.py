"""How good a predictor is on molecules that it has not seen, and on scaffolds that it has not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl4bio.chem.features import domain_bits, feature_rows
from rl4bio.chem.splits import SplitKind, split_groups
from rl4bio.predictors.predictor import nearest_tanimoto
from rl4bio.predictors.records import Measured
from rl4bio.predictors.training import FEATURES, TreeOptions, check_enough, grow_forest
from rl4bio.statistics.ranks import spearman

TEST_SHARE = 0.2
KINDS: tuple[SplitKind, ...] = ("random", "scaffold")
SIMILARITY_EDGES = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
"""Of the bands of nearest-neighbour similarity that errors are listed by."""
TOP_SHARE = 0.2


@dataclass(slots=True, kw_only=True)
class SplitScores:
    """One split's held-out molecules."""

    split: str
    seed: int
    n: int
    r2: float
    """1 - squared error / squared distance from the mean of the held-out values."""
    mae: float
    rmse: float
    spearman: float
    constant_mae: float
    """Of predicting the training mean for all; its R2 is 0 at most."""


@dataclass(slots=True, kw_only=True)
class HeldOut:
    """What was predicted for the held-out molecules of one split; vectors [n]."""

    truth: NDArray[np.float64]
    predicted: NDArray[np.float64]
    spread: NDArray[np.float64]
    similarity: NDArray[np.float64]
    """To the nearest molecule of the split's training part."""


def evaluate(
    measured: Measured, options: TreeOptions, *, seeds: Sequence[int]
) -> tuple[list[SplitScores], dict[str, list[HeldOut]]]:
    """Train on four fifths and predict the rest, for each kind of split and each seed.

    Returns:
        a row per split; and by kind of split what was predicted.
    """
    rows = feature_rows(measured.molecules, FEATURES)
    bits = domain_bits(measured.molecules)
    scores: list[SplitScores] = []
    held: dict[str, list[HeldOut]] = {}
    for kind in KINDS:
        for seed in seeds:
            test, train = split_groups(measured.molecules, [TEST_SHARE], kind=kind, seed=seed)
            check_enough(measured.values[train], held_out=f"{kind} seed {seed}")
            forest = grow_forest(rows[train], measured.values[train], options)
            members = forest.members(rows[test])
            one = HeldOut(
                truth=measured.values[test],
                predicted=members.mean(axis=1),
                spread=members.std(axis=1),
                similarity=nearest_tanimoto(bits[test], bits[train]),
            )
            mean = float(measured.values[train].mean())
            scores.append(score(kind, seed, one.truth, one.predicted, mean))
            held.setdefault(kind, []).append(one)
    return scores, held


def score(
    split: str,
    seed: int,
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    training_mean: float,
) -> SplitScores:
    """The measures of one set of predictions."""
    error = predicted - truth
    squares = float(((truth - truth.mean()) ** 2).sum())
    return SplitScores(
        split=split,
        seed=seed,
        n=len(truth),
        r2=1 - float((error**2).sum()) / squares if squares else float("nan"),
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        spearman=spearman(truth, predicted),
        constant_mae=float(np.abs(truth - training_mean).mean()),
    )


def similarity_bands(held: Sequence[HeldOut]) -> list[dict[str, float | None]]:
    """Errors by how near the nearest training molecule is.

    Returns:
        per band that holds a molecule: low, high, n, mae, bias (predicted - true), constant_mae
        (of the held-out mean) and the mean spread of the ensemble; and top_n and top_bias of those
        whose prediction is among the highest fifth of all, which a policy would look for.
    """
    truth, predicted, spread, near = (
        np.concatenate([getattr(one, name) for one in held])
        for name in ("truth", "predicted", "spread", "similarity")
    )
    top = predicted >= np.quantile(predicted, 1 - TOP_SHARE)
    bands: list[dict[str, float | None]] = []
    for low, high in itertools.pairwise(SIMILARITY_EDGES):
        chosen = (near >= low) & ((near < high) | (high == SIMILARITY_EDGES[-1]))
        if chosen.any():
            error = predicted[chosen] - truth[chosen]
            best = error[top[chosen]]
            bands.append(
                {
                    "low": low,
                    "high": high,
                    "n": int(chosen.sum()),
                    "mae": float(np.abs(error).mean()),
                    "bias": float(error.mean()),
                    "constant_mae": float(np.abs(truth[chosen] - truth.mean()).mean()),
                    "spread": float(spread[chosen].mean()),
                    "top_n": len(best),
                    "top_bias": float(best.mean()) if len(best) else None,
                }
            )
    return bands


def summary(scores: Sequence[SplitScores]) -> dict[str, dict[str, dict[str, float]]]:
    """split -> measure -> mean, low and high over the seeds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for split in dict.fromkeys(one.split for one in scores):
        rows = [asdict(one) for one in scores if one.split == split]
        found[split] = {
            name: {
                "mean": float(np.mean([row[name] for row in rows])),
                "low": float(min(row[name] for row in rows)),
                "high": float(max(row[name] for row in rows)),
            }
            for name in ("r2", "mae", "rmse", "spearman", "constant_mae")
        }
    return found


def table(scores: Sequence[SplitScores]) -> str:
    """A Markdown table of the summary: mean and range over the seeds."""
    lines = [
        "| split | R2 | MAE | RMSE | Spearman | MAE of a constant |",
        "|---|---|---|---|---|---|",
    ]
    for split, measures in summary(scores).items():
        cells = [
            f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
            for one in measures.values()
        ]
        lines.append(f"| {split} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(scores: Sequence[SplitScores], held: dict[str, list[HeldOut]]) -> dict[str, Any]:
    """All of it for report.json."""
    return {
        "splits": [asdict(one) for one in scores],
        "summary": summary(scores),
        "by_similarity": {kind: similarity_bands(parts) for kind, parts in held.items()},
    }
