"""Answers of models that know nothing of the molecule: one label, or one number, throughout."""

from __future__ import annotations

import math

from rl4bio.answer_block import bin_of, bin_text
from rl4bio.evaluation.answers import Answer
from rl4bio.evaluation.labels import majority_label
from rl4bio.evaluation.regression import NumberAnswer
from rl4bio.evaluation_items import Items
from rl4bio.replies import positive_class

_CERTAIN = 1e-6
"""The least chance of a class that training lacks."""


def constant_answers(items: Items) -> dict[str, list[Answer]] | None:
    """Name of a constant -> its answers; None where the best constant label is all there is.

    The probability of the positive option is its share of the training split, the same for every
    item: AUROC 1/2, AUPRC the share of positive items.
    """
    if items.kind == "bin":
        return {
            f"{name} {value:.3g}": [_number(items, k, value) for k in range(len(items.samples))]
            for name, value in items.constants.items()
        }
    first = items.samples[0]
    positive = positive_class(first)
    if positive is None:
        return None
    label = majority_label([str(sample.target) for sample in items.samples], items.labels)
    share = float(first.extra.get("class_share", {}).get(positive, math.nan))
    share = min(max(share, _CERTAIN), 1 - _CERTAIN)  # NaN stays NaN
    odds = math.log(share / (1 - share))
    return {
        f"always {label!r}": [
            Answer(
                gold=str(sample.target),
                strict=label,
                lenient=label,
                positive=positive,
                log_odds=odds,
            )
            for sample in items.samples
        ]
    }


def _number(items: Items, position: int, value: float) -> Answer:
    extra = items.samples[position].extra
    said = bin_text(bin_of(value, **extra["scale"]))
    number = NumberAnswer(label=float(extra["label"]), said=value, constant=value)
    return Answer(gold=None, strict=said, lenient=said, number=number)
