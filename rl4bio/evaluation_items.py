"""The test items of a corpus: of which kind they are, checked, and the subset that is asked."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.answer_block import read_bin, value_of_bin
from rl4bio.data import Corpus
from rl4bio.data.base import stratified_subset
from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation.labels import LABELS, Kind
from rl4bio.evaluation.overlap import find_overlaps
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

KINDS: tuple[Kind, ...] = ("verdict", "choice", "bin", "open")


@dataclass(slots=True, kw_only=True)
class Items:
    """Test items of one kind, and of one task where the corpus has tasks."""

    kind: Kind
    samples: list[Sample]
    task: str = ""
    constants: dict[str, float] = field(default_factory=dict)
    """Of numbers, what training says to answer always, name -> value in the label's unit."""

    @property
    def name(self) -> str:
        """What a report of several is called, as the name of a folder."""
        return re.sub(r"[^\w\-]", "_", self.task, flags=re.ASCII) or self.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: yes, no and maybe; the letters that are right somewhere; () of others."""
        if self.kind == "verdict":
            return LABELS
        if self.kind in ("open", "bin"):
            return ()
        return tuple(sorted({str(sample.target) for sample in self.samples}))


def find_items(corpus: Corpus, config: RunConfig) -> list[Items]:
    """The test split, or its configured subset, checked and parted by kind and task.

    Raises:
        DataError: the split is empty, has a label that cannot be scored, or shares an item with the
            training or validation split.
        ConfigError: open questions without rewards, or modes that a kind does not have.
    """
    test = list(corpus.samples("test"))
    if not test:
        raise DataError("the test split is empty; check data.options")
    kinds = dict(zip((sample.uid for sample in test), kinds_of(test), strict=True))
    check_overlap(corpus, test)
    chosen = choose_items(test, kinds, config.evaluation.max_items, seed=config.seed)
    parts: dict[tuple[Kind, str], list[Sample]] = {}
    for sample in sorted(chosen, key=lambda sample: KINDS.index(kinds[sample.uid])):
        parts.setdefault((kinds[sample.uid], task_of(sample)), []).append(sample)
    items = [Items(kind=kind, task=task, samples=own) for (kind, task), own in parts.items()]
    for own in items:
        if own.kind == "open":
            check_open(config)
        if own.kind == "bin":
            check_written(config, "numbers")
            own.constants = training_constants(corpus, own)
    return items


def task_of(sample: Sample) -> str:
    """The task of a sample; "" where its corpus has none."""
    return str(sample.extra.get("task", ""))


def training_constants(corpus: Corpus, items: Items) -> dict[str, float]:
    """Median and mean of the training labels of a task of numbers, in the unit of the label.

    The median is that of the training bins, which also stands for an answer that cannot be read.
    """
    extra = items.samples[0].extra
    found = {"training median": value_of_bin(extra["constant"]["bin"], **extra["scale"])}
    train = [s.extra["label"] for s in corpus.samples("train") if task_of(s) == items.task]
    return found | ({"training mean": statistics.fmean(train)} if train else {})


def kinds_of(samples: Sequence[Sample]) -> list[Kind]:
    """The kind of each sample: options make a choice, a corpus of labels is one of verdicts.

    A sample that says `kind` in its `extra` is what it says there.

    Raises:
        DataError: the right letter is none of the options; or most targets are yes, no or maybe,
            and this one is not; or a number has no finite label or no scale.
    """
    bare = [s for s in samples if not (s.extra.get("options") or s.extra.get("kind"))]
    labelled = 2 * sum(sample.target in LABELS for sample in bare) > len(bare)
    return [_kind(sample, labelled) for sample in samples]


def _kind(sample: Sample, labelled: bool) -> Kind:
    if sample.extra.get("kind") == "bin":
        check_number(sample)
        return "bin"
    if sample.extra.get("kind") in ("reactants", "design"):
        return "open"
    options = sample.extra.get("options")
    known = tuple(options or LABELS)
    if (options or labelled) and sample.target not in known:
        raise DataError(
            f"test item {sample.uid} has the label {sample.target!r}; "
            f"`rl4bio evaluate` scores {', '.join(known)} there; correct or remove it"
        )
    return "choice" if options else "verdict" if labelled else "open"


def check_number(sample: Sample) -> None:
    """Refuse an item of numbers that cannot be scored.

    Raises:
        DataError: its label is not finite, its target is no bin, or its scale is none.
    """
    extra = sample.extra
    label, scale = extra.get("label"), extra.get("scale", {})
    if (
        not isinstance(label, int | float)
        or not math.isfinite(label)
        or read_bin(sample.target) is None
        or not scale.get("low", math.nan) < scale.get("high", math.nan)
        or "bin" not in extra.get("constant", {})
    ):
        raise DataError(
            f"test item {sample.uid} has the label {label!r}, the target {sample.target!r} and the "
            f"scale {scale!r}; a number needs a finite label, a bin of three digits (or 1000), and "
            "low below high"
        )


def check_overlap(corpus: Corpus, test: Sequence[Sample]) -> None:
    """Refuse a test split that shares items with training or validation.

    Raises:
        DataError: some are shared.
    """
    seen = [(s.uid, s.question) for split in ("train", "val") for s in corpus.samples(split)]
    overlaps = find_overlaps(seen, [(s.uid, s.question) for s in test])
    if overlaps:
        first = overlaps[0]
        raise DataError(
            f"{len(overlaps)} of {len(test)} test items are also in the training or validation "
            f"split, first {first.test_uid} (same {first.by} as {first.train_uid}); a score on "
            "them would measure memory: remove them from the training data"
        )


def check_open(config: RunConfig) -> None:
    """Open questions need rewards, and a mode in which a completion is written.

    Raises:
        ConfigError: there is none.
    """
    if not config.rewards:
        raise ConfigError(
            "rewards: is empty, but the test split has open questions, which only rewards can "
            "score; name one, such as {name: semantic}"
        )
    check_written(config, "open questions")


def check_written(config: RunConfig, what: str) -> None:
    """Some answers are written and never chosen.

    Raises:
        ConfigError: no mode writes a completion.
    """
    if not {"greedy", "sampled"} & set(config.evaluation.modes):
        raise ConfigError(
            f"evaluation.modes: got {list(config.evaluation.modes)}, but the test split has "
            f"{what}; add greedy or sampled"
        )


def choose_items(
    samples: Sequence[Sample], kinds: dict[str, Kind], size: int | None, *, seed: int
) -> list[Sample]:
    """A seeded subset that keeps the mix of kinds, tasks and labels; see `stratified_subset`."""
    strata = [dataclasses.replace(s, target=_stratum(s, kinds[s.uid])) for s in samples]
    chosen = {sample.uid for sample in stratified_subset(strata, size, seed=seed)}
    return [sample for sample in samples if sample.uid in chosen]


def _stratum(sample: Sample, kind: Kind) -> str:
    # Texts and bins are no strata: rounding would leave the first ones in the alphabet.
    label = kind if kind in ("open", "bin") else str(sample.target)
    return f"{task_of(sample)}/{label}" if task_of(sample) else label
