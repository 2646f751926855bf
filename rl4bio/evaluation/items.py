"""The test items of a corpus: of which kind they are, checked, and the subset that is asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.answers.answer import Answer
from rl4bio.answers.asked import Asked
from rl4bio.answers.kind import Kind
from rl4bio.answers.kinds import kinds_of
from rl4bio.data import Corpus
from rl4bio.data.base import stratified_subset
from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation.overlap import find_overlaps
from rl4bio.sections import RunConfig
from rl4bio.types import Sample


@dataclass(slots=True, kw_only=True)
class Items:
    """Test items of one kind, and of one task where the corpus has tasks."""

    kind: Kind
    samples: list[Sample]
    task: str = ""
    train: list[Sample] = field(default_factory=list)
    """Training items of the task, for kinds without classes, which constants are made of."""

    @property
    def name(self) -> str:
        """What a report of several is called, as the name of a folder."""
        return re.sub(r"[^\w\-]", "_", self.task, flags=re.ASCII) or self.kind.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: yes, no and maybe; the letters that are right somewhere; () of others."""
        return self.kind.labels(self.samples)


def task_of(sample: Sample) -> str:
    """The task of a sample; "" where its corpus has none."""
    return Asked.of(sample).task or ""


def constant_answers(items: Items) -> dict[str, list[Answer]]:
    """Name of a constant -> its answers."""
    kind = items.kind
    found = kind.constants(items.samples, items.train)
    return {
        name: [
            Answer(
                gold=kind.gold(sample),
                strict=constant.said,
                lenient=constant.said,
                positive=kind.positive(sample),
                log_odds=constant.log_odds,
                number=constant.number,
            )
            for sample, constant in zip(items.samples, constants, strict=True)
        ]
        for name, constants in found.items()
    }


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
    for sample in sorted(chosen, key=lambda sample: kinds[sample.uid].rank):
        parts.setdefault((kinds[sample.uid], task_of(sample)), []).append(sample)
    items = [Items(kind=kind, task=task, samples=own) for (kind, task), own in parts.items()]
    for own in items:
        if own.kind.needs_rewards:
            check_open(config)
        elif not own.kind.has_labels:
            check_written(config, "numbers")
            own.train = [s for s in corpus.samples("train") if task_of(s) == own.task]
    return items


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
    label = str(sample.target) if kind.has_labels else kind.name
    return f"{task_of(sample)}/{label}" if task_of(sample) else label
