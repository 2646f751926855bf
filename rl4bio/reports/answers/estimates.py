"""Estimates as text, and what the statistics of single tasks are called."""

from __future__ import annotations

import math

from rl4bio.statistics.bootstrap import Estimate

MISSING = "–"
MORE = {
    "balanced_accuracy": "balanced accuracy %",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "mae": "MAE",
    "mae_read": "MAE if read",
    "spearman": "Spearman",
    "r2": "R2",
    "exact_set": "exact sets %",
    "tanimoto": "Tanimoto",
    "reasoning_words": "reasoning words",
    "self_correction": "self-corrections %",
    "label_denied": "labels denied %",
    "empty_thought": "empty thoughts %",
    "abstract_copied": "of the abstract copied %",
}
"""What only some tasks have (`AnswerMetrics.more`) -> its column; a % in it means a share."""


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"


def percent_interval(estimate: Estimate) -> str:
    """A share with its interval, in percent."""
    if math.isnan(estimate.value):
        return MISSING
    return f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]"


def number_interval(estimate: Estimate) -> str:
    """A mean with its interval, in its own unit."""
    if math.isnan(estimate.value):
        return MISSING
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
