"""The test items of a corpus: of which kind they are, checked, and the subset that is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.data import Corpus
from rl4bio.data.base import stratified_subset
from rl4bio.errors import ConfigError, DataError
from rl4bio.evaluation.labels import LABELS, Kind
from rl4bio.evaluation.overlap import find_overlaps
from rl4bio.sections import RunConfig
from rl4bio.types import Sample

KINDS: tuple[Kind, ...] = ("verdict", "choice", "open")


@dataclass(slots=True, kw_only=True)
class Items:
    """Test items of one kind."""

    kind: Kind
    samples: list[Sample]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes: yes, no and maybe; the letters that are right somewhere; () of open ones."""
        if self.kind == "verdict":
            return LABELS
        if self.kind == "open":
            return ()
        return tuple(sorted({str(sample.target) for sample in self.samples}))


def find_items(corpus: Corpus, config: RunConfig) -> list[Items]:
    """The test split, or its configured subset, checked and parted by kind.

    Raises:
        DataError: the split is empty, has a label that cannot be scored, or shares an item with the
            training or validation split.
        ConfigError: open questions without rewards, or in modes that they do not have.
    """
    test = list(corpus.samples("test"))
    if not test:
        raise DataError("the test split is empty; check data.options")
    kinds = dict(zip((sample.uid for sample in test), kinds_of(test), strict=True))
    check_overlap(corpus, test)
    chosen = choose_items(test, kinds, config.evaluation.max_items, seed=config.seed)
    items = [
        Items(kind=kind, samples=own)
        for kind in KINDS
        if (own := [sample for sample in chosen if kinds[sample.uid] == kind])
    ]
    if any(own.kind == "open" for own in items):
        check_open(config)
    return items


def kinds_of(samples: Sequence[Sample]) -> list[Kind]:
    """The kind of each sample: options make a choice, a corpus of labels is one of verdicts.

    Raises:
        DataError: the right letter is none of the options; or most targets are yes, no or maybe,
            and this one is not.
    """
    bare = [sample for sample in samples if not sample.extra.get("options")]
    labelled = 2 * sum(sample.target in LABELS for sample in bare) > len(bare)
    return [_kind(sample, labelled) for sample in samples]


def _kind(sample: Sample, labelled: bool) -> Kind:
    options = sample.extra.get("options")
    known = tuple(options or LABELS)
    if (options or labelled) and sample.target not in known:
        raise DataError(
            f"test item {sample.uid} has the label {sample.target!r}; "
            f"`rl4bio evaluate` scores {', '.join(known)} there; correct or remove it"
        )
    return "choice" if options else "verdict" if labelled else "open"


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
    if not {"greedy", "sampled"} & set(config.evaluation.modes):
        raise ConfigError(
            f"evaluation.modes: got {list(config.evaluation.modes)}, but the test split has open "
            "questions; add greedy or sampled"
        )


def choose_items(
    samples: Sequence[Sample], kinds: dict[str, Kind], size: int | None, *, seed: int
) -> list[Sample]:
    """A seeded subset that keeps the mix of kinds and labels; see `stratified_subset`."""
    # Gold texts are no strata: rounding would leave the first ones in the alphabet.
    strata = [
        dataclasses.replace(s, target="open") if kinds[s.uid] == "open" else s for s in samples
    ]
    chosen = {sample.uid for sample in stratified_subset(strata, size, seed=seed)}
    return [sample for sample in samples if sample.uid in chosen]
