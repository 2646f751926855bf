"""What a question asks for: how its answers are read, compared and described.

Each kind is one class in one file, and one line in the table of `rl4bio.answers.kinds`. A kind has
no state: what belongs to one question stands in its `Sample`, and what only a kind needs of it in
`Sample.extra`, in the kind's own `Asked`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rl4bio.answers.answer import NumberAnswer
from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import TAGS, Form, answer_of, parse_completion
from rl4bio.errors import DataError
from rl4bio.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """What a model that says the same to every item answers to one of them."""

    said: str
    number: NumberAnswer | None = None
    log_odds: float = math.nan


class Kind(ABC):
    """A kind of question.

    Two readers: the strict one is that of the rewards, so that accuracy and reward agree; the
    lenient one is a benevolent human's, for evaluation alone. The gap between them is form.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    """Place among the kinds in a report."""
    asked: ClassVar[type[Asked]] = Asked
    """What `Sample.extra` is for questions of the kind."""
    tags: ClassVar[tuple[str, str]] = TAGS
    """Names of the two blocks of the form `tags`."""
    vote: ClassVar[str] = "majority"
    """What several draws are one answer by."""
    has_labels: ClassVar[bool] = True
    """Whether the right answer is a class."""
    needs_rewards: ClassVar[bool] = False
    """Whether only rewards can tell how good an answer is."""
    is_design: ClassVar[bool] = False
    """Whether the answer is a molecule that molecule rewards judge."""
    is_molecules: ClassVar[bool] = False
    """Whether the answer is SMILES, which reports draw."""
    reads: ClassVar[str]
    """How completions are read, for a report."""
    compares: ClassVar[str] = ""
    """How choices are compared by log-probability, for a report; "" where there are none."""
    ways: ClassVar[Mapping[str, Sequence[str]]] = {}
    """What is written behind a prompt to compare choices -> what sums are divided by."""
    asks: ClassVar[str] = ""
    """What an answer is, in the words of a prompt; "" for a kind of no therapeutic task."""
    apart: ClassVar[bool] = False
    """Whether choices stand behind a blank in a chat too."""

    @abstractmethod
    def read(self, answer: str, sample: Sample) -> str | None:
        """The label of a text that is an answer alone, strictly; None where it is none."""

    @abstractmethod
    def lenient(self, completion: str, sample: Sample, form: Form) -> str | None:
        """The label as a benevolent reader finds it in a completion, or None."""

    def strict(self, completion: str, sample: Sample, form: Form) -> str | None:
        """The label of a completion that keeps its form, or None.

        Args:
            completion: generated text alone.
            sample: that it answers.
            form: what the prompt asks the completion to look like.
        """
        if Asked.of(sample).answer_form is not None:
            answer = answer_of(completion, sample)
        else:
            parsed = parse_completion(completion, form)
            answer = None if parsed is None else parsed.answer
        return self.read(answer, sample) if answer else None

    def gold(self, sample: Sample) -> str | None:
        """The right label; None where there are no classes."""
        return str(sample.target) if self.has_labels else None

    def labels(self, samples: Sequence[Sample]) -> tuple[str, ...]:
        """The classes that are right somewhere; () where there are none."""
        return tuple(sorted({str(s.target) for s in samples})) if self.has_labels else ()

    def choices(self, sample: Sample) -> Mapping[str, str]:
        """Label -> text of all that may be chosen; {} where an answer is written."""
        return {}

    def written(self, sample: Sample, way: str, *, begun: bool) -> dict[str, str]:
        """Label -> what is written of it behind a prompt.

        Args:
            sample: asked.
            way: one of `ways`.
            begun: whether the answer has been begun with `lead` already.
        """
        return dict(self.choices(sample))

    def said(self, target: str) -> str:
        """What a demonstration says for a target."""
        return target

    def lead(self, sample: Sample) -> str:
        """What an answer begins with before its first word; "" for most."""
        return ""

    def positive(self, sample: Sample) -> str | None:
        """The class that a question of two asks for; None for any other."""
        return None

    def number(self, strict: str | None, sample: Sample) -> NumberAnswer | None:
        """Label and what was said, where the question asks for a number."""
        return None

    def measures(self, answer: str | None, sample: Sample) -> dict[str, float]:
        """What else is counted in an answer; {} for most."""
        return {}

    def constants(
        self, samples: Sequence[Sample], train: Sequence[Sample]
    ) -> dict[str, list[Constant]]:
        """Name of a constant -> what it says to each item.

        That is the most common label, the first of `labels` on a tie; {} where there are no
        classes.

        Args:
            samples: n items of one task.
            train: training items of the same task; only of numbers.
        """
        if not self.has_labels:
            return {}
        gold = [self.gold(sample) for sample in samples]
        label = max(self.labels(samples), key=gold.count)
        said = Constant(said=label, log_odds=self.constant_odds(samples))
        return {f"always {label!r}": [said] * len(samples)}

    def constant_odds(self, samples: Sequence[Sample]) -> float:
        """The log-odds of the positive class that a constant gives to every item; NaN: none."""
        return math.nan

    def check(self, sample: Sample) -> None:
        """Refuse a test item that cannot be scored.

        Raises:
            DataError: its label is none that may be chosen.
        """
        known = self.choices(sample)
        if known and sample.target not in known:
            raise DataError(
                f"test item {sample.uid} has the label {sample.target!r}; `rl4bio evaluate` "
                f"scores {', '.join(known)} there; correct or remove it"
            )

    def count(self, samples: Sequence[Sample]) -> str:
        """How many items there are, for a report."""
        counts = dict.fromkeys(self.labels(samples), 0)
        for sample in samples:
            counts[str(sample.target)] += 1
        return f"{len(samples)} ({', '.join(f'{n} {label}' for label, n in counts.items())})"

    def facts(self, samples: Sequence[Sample]) -> dict[str, str]:
        """What else a reader must know to judge the numbers; name -> value."""
        return {}
