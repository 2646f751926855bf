"""Copies of items merged, items divided, and what the training split says of its labels."""

from __future__ import annotations

import hashlib
import logging
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rl4bio.answers.bins import bin_of
from rl4bio.chem.splits import split_names
from rl4bio.data.base import Split
from rl4bio.data.therapeutics.records import TherapeuticsRecord
from rl4bio.errors import DataError

log = logging.getLogger("rl4bio")

WIDE = 100.0
"""The 95th percentile over the 5th from which labels ask for a logarithm."""
FEW_BINS = 20.0
"""Mean absolute error of a constant, in bins, below which it is nearly perfect."""
CONTRADICTING = "whose copies differ in the label"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFacts:
    """What the training split of a task says of its labels; empty where the kind has no use."""

    class_share: dict[str, float] = field(default_factory=dict)
    """Letter -> share of the training prompts."""
    scale: dict[str, float] = field(default_factory=dict)
    """low and high: the labels of bin 000 and bin 1000."""
    constant: dict[str, float] = field(default_factory=dict)
    """bin: the median of the training bins; mae: their mean absolute difference from it."""


def merge_copies(
    records: Sequence[TherapeuticsRecord],
    left_out: Counter[str],
    *,
    tolerance: float | None = None,
) -> list[TherapeuticsRecord]:
    """Each item once, as its alphabetically first copy; those whose labels differ not at all.

    Numbers become their median where they differ by at most the tolerance.

    Of copies that a file marks as several splits, one in test goes before one in val, and that
    before one in train.

    Args:
        records: of one task.
        left_out: reason -> count, which is added to.
        tolerance: of numbers; None: a tenth of their range.
    """
    values = [record.value for record in records if math.isfinite(record.value)]
    if tolerance is None:
        tolerance = (max(values) - min(values)) / 10 if values else 0.0
    copies: dict[str, list[TherapeuticsRecord]] = {}
    for record in records:
        copies.setdefault(record.key, []).append(record)
    kept: list[TherapeuticsRecord] = []
    rank = {"test": 0, "val": 1, "train": 2, None: 2}
    for own in copies.values():
        kind = own[0].template.kind
        own_values = [record.value for record in own]
        repeated = kind == "bin" and max(own_values) - min(own_values) <= tolerance
        if len({r.label for r in own}) > 1 and kind != "design" and not repeated:
            left_out[CONTRADICTING] += len(own)
            continue
        if len(own) > 1:
            left_out["that are copies"] += len(own) - 1
        first = min(own, key=lambda r: (rank[r.split], *r.inputs.values(), r.reasoning))
        if repeated:
            first.value = statistics.median(own_values)
        kept.append(first)
    return kept


def divide(
    tasks: Mapping[str, Sequence[TherapeuticsRecord]],
    *,
    test_fraction: float,
    val_fraction: float,
    seed: int,
) -> None:
    """Fill in the split of every record.

    Items that no file marks are split in a pool with those of all tasks that are split in the same
    way, so that a molecule of several tasks is on one side in all of them. Where files mark the
    items of a task and none of them as test (or validation), that share of its training items is
    drawn by chance.

    Args:
        tasks: name -> its items.
        test_fraction: share of the items.
        val_fraction: share of the items.
        seed: of the draws.

    Raises:
        DataError: a task has no training item left.
    """
    fractions: dict[Split, float] = {"test": test_fraction, "val": val_fraction}
    pools: dict[str, list[TherapeuticsRecord]] = {}
    for task, records in tasks.items():
        marks = {record.split for record in records} - {None}
        for record in records:
            if record.split is None:
                pools.setdefault(record.way, []).append(record)
            elif record.split == "train":
                pools.setdefault(f"marked/{task}", []).append(record)
        marked = pools.pop(f"marked/{task}", [])
        _draw(marked, {name: part for name, part in fractions.items() if name not in marks}, seed)
    for way, pool in pools.items():
        _draw(pool, fractions, seed, spread=way == "scaffold")
    for task, records in tasks.items():
        if not any(record.split == "train" for record in records):
            raise DataError(
                f"data.options.tasks: none of the {len(records)} items of {task} is left to train "
                "on; give more, or lower val_fraction and test_fraction"
            )


def _draw(
    records: Sequence[TherapeuticsRecord],
    fractions: Mapping[Split, float],
    seed: int,
    *,
    spread: bool = False,
) -> None:
    """Part records that are on no side yet."""
    names = [record.group for record in records]
    *parts, rest = split_names(names, [*fractions.values()], seed=seed, spread=spread)
    for record in (records[row] for row in rest):
        record.split = "train"
    for split, rows in zip(fractions, parts, strict=True):
        for record in (records[row] for row in rows):
            record.split = split


def in_order(records: Sequence[TherapeuticsRecord], *, seed: int) -> list[TherapeuticsRecord]:
    """In an order that items and seed fix, whatever the order of rows and files."""
    return sorted(
        records, key=lambda record: hashlib.sha256(f"{seed}/{record.uid}".encode()).digest()
    )


def balanced(records: Sequence[TherapeuticsRecord], *, seed: int) -> list[TherapeuticsRecord]:
    """The items of one task of two options, those of the rarer letter repeated.

    Both letters then come equally often; which items come once more than others is drawn. Items of
    one letter alone stay as they are.
    """
    by_letter: dict[str, list[TherapeuticsRecord]] = {}
    for record in records:
        by_letter.setdefault(record.answer, []).append(record)
    if len(by_letter) < 2:
        return list(records)
    rare, common = sorted(by_letter.values(), key=len)
    rounds, more = divmod(len(common), len(rare))
    chosen = random.Random(f"balance/{seed}").sample(rare, more)
    return [*common, *rare * rounds, *chosen]


def label_facts(
    records: Sequence[TherapeuticsRecord], *, scale: Sequence[float] | None = None
) -> LabelFacts:
    """What the training items of one task say of their labels.

    Args:
        records: the training items, as often as they are shown; not empty.
        scale: labels of bin 000 and 1000; None: the least and the greatest label.

    Raises:
        DataError: there is no scale, since all labels are one number.
    """
    template = records[0].template
    if template.kind == "option":
        counts = Counter(record.answer for record in records)
        return LabelFacts(class_share={n: counts[n] / len(records) for n in template.options})
    if template.kind != "bin":
        return LabelFacts()
    values = [record.value for record in records]
    low, high = scale or (min(values), max(values))
    if not low < high:
        raise DataError(
            f"{records[0].place}: every training label of {template.task} is {low}, which gives no "
            "scale of bins; give other rows, or set scale to [low, high]"
        )
    bins = [bin_of(value, low, high) for value in values]
    middle = statistics.median_low(bins)
    mae = statistics.fmean(abs(number - middle) for number in bins)
    return LabelFacts(scale={"low": low, "high": high}, constant={"bin": middle, "mae": mae})


def warn_of_bins(task: str, facts: LabelFacts, values: Sequence[float], *, chosen: bool) -> None:
    """Warn where the bins of a task hardly tell its labels apart.

    Args:
        task: its name.
        facts: of its training items.
        values: their labels.
        chosen: whether the task names a scale or a unit.
    """
    if not facts.constant:
        return
    ordered = sorted(values)
    low, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.05, 0.95))
    wide = ordered[0] > 0 and high > WIDE * low and not chosen
    if wide or facts.constant["mae"] < FEW_BINS:
        log.warning(
            "%s: bins on a linear scale say little of labels from %g to %g, nine tenths of them "
            "from %.3g to %.3g: always answering %03d is off by %.1f of 1000 bins; set the task's "
            "scale to log10 or [low, high], or its unit (nM, ...) for -log10 mol/l",
            task,
            ordered[0],
            ordered[-1],
            low,
            high,
            facts.constant["bin"],
            facts.constant["mae"],
        )
