"""What a corpus is, and the arithmetic of splits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rl4bio.sections.checks import at_least
from rl4bio.types import Sample

Split = Literal["train", "val", "test"]
CountTokens = Callable[..., int]
"""Tokens of a prompt and, where there is one, of the opening behind it (`Policy.count_tokens`)."""


@dataclass(kw_only=True)
class Corpus:
    """Samples of one task. A subclass is a dataclass whose fields are the `data.options`."""

    batch_size: int = 8
    """Prompts per rank and step."""
    task: ClassVar[Literal["questions", "molecules"]] = "questions"
    """What completions are, which decides how `rl4bio evaluate` judges them."""
    decorates: ClassVar[bool] = False
    """Whether its completions are pieces for the attachment points of a scaffold."""
    keeps_apart: ClassVar[bool] = False
    """Whether its splits share no near-duplicates by its own doing; others are looked at when a run
    begins (`rl4bio.runs.early_checks`)."""

    def __post_init__(self) -> None:
        at_least(1, batch_size=self.batch_size)
        self.scaffold_limit: float = math.inf
        """Most tokens of a scaffold that the policy takes; set before `bind`."""

    def samples(self, split: Split) -> Sequence[Sample]:
        """All samples of a split, in a fixed order. Raises DataError for files that do not read."""
        raise RuntimeError(f"{type(self).__name__} does not define samples")

    def shorten(self, sample: Sample, fits: Callable[[Sample], bool]) -> Sample | None:
        """The sample with less context such that `fits` holds, or None where nothing can be cut."""
        return None

    @property
    def prompt_form(self) -> str | None:
        """What the prompt asks a completion to look like: tags, think, direct or predict.

        None for a corpus without an option `form`: it has one prompt, which is read as tags.
        """
        return None

    def vocabulary(self) -> Mapping[str, int] | None:
        """Token -> index, for a new model; None where the data makes none."""
        return None

    @property
    def conditions(self) -> list[str] | None:
        """Lower-case names of what its samples condition a model on; None for other tasks."""
        return None

    @property
    def opens_block(self) -> bool:
        """Whether the prompt begins the answer with `begins`; the option `open_block`."""
        return False

    @property
    def begins(self) -> str:
        """What an answer in the form of the prompt begins with; "" where nothing is asked for."""
        return ""

    @property
    def opening(self) -> str:
        """What the prompt begins the answer with (`Sample.opening`): `begins`, or nothing."""
        return self.begins if self.opens_block else ""

    def bind(self, vocabulary: Mapping[str, int], *, max_tokens: int | None = None) -> None:
        """Learn what the policy can read, once it is loaded and before training; may drop samples.

        Args:
            vocabulary: token -> index of the policy's tokenizer.
            max_tokens: positions of the policy beside its start token; None = no limit.

        Raises:
            DataError: the samples do not fit, and may not be changed or dropped.
        """

    def vary(self, sample: Sample, number: int) -> Sample:
        """The sample as a training draw shows it, fixed by the draw's number; itself by default."""
        return sample

    def stratum(self, sample: Sample) -> str:
        """Of a training sample: what is spread evenly over the steps; one for all by default."""
        return ""


class QuestionCorpus(Corpus):
    """Questions whose subclass has the options `form` and `open_block`."""

    if TYPE_CHECKING:  # each subclass has its own forms, defaults and words for them
        form: str
        open_block: bool

    @property
    def prompt_form(self) -> str:
        """The option `form`."""
        return self.form

    @property
    def opens_block(self) -> bool:
        """The option `open_block`."""
        return self.open_block


def check_shares(val_fraction: float, test_fraction: float) -> None:
    """Raise a ValueError unless both are shares and leave something to train on."""
    for name, share in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= share < 1:
            raise ValueError(f"{name}: got {share}, needs a number in [0, 1)")
    if val_fraction + test_fraction >= 1:
        raise ValueError("test_fraction: with val_fraction it leaves nothing to train on")


def check_limits(**limits: int | None) -> None:
    """Raise a ValueError for a limit below 1; None is no limit."""
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"{name}: got {limit}, needs at least 1 (or null for all)")


def stratified_subset(samples: Sequence[Sample], size: int | None, *, seed: int) -> list[Sample]:
    """A seeded subset that keeps the label mix, in the corpus's own order.

    Every label gets its share rounded by largest remainder, so the counts add up to `size`.

    Args:
        samples: rows with `target` as their label.
        size: wanted number of rows; None or more than there are gives all.
        seed: of the draw inside each label.
    """
    if size is None or size >= len(samples):
        return list(samples)
    by_label: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        by_label.setdefault(str(sample.target), []).append(index)
    exact = {label: size * len(rows) / len(samples) for label, rows in by_label.items()}
    take = {label: int(share) for label, share in exact.items()}
    remainder = sorted(exact, key=lambda label: (take[label] - exact[label], label))
    for label in remainder[: size - sum(take.values())]:
        take[label] += 1
    chosen: set[int] = set()
    for label, rows in by_label.items():
        chosen.update(random.Random(f"{seed}/{label}").sample(rows, take[label]))
    return [samples[index] for index in sorted(chosen)]
