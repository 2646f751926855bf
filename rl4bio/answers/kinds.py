"""The kinds of questions, by name, and which one a sample is."""

from __future__ import annotations

from collections.abc import Sequence

from rl4bio.answers.asked import Asked
from rl4bio.answers.bins import Bin
from rl4bio.answers.choice import AskedChoice, Choice
from rl4bio.answers.design import Design
from rl4bio.answers.kind import Kind
from rl4bio.answers.open import Open
from rl4bio.answers.option import Option
from rl4bio.answers.reactants import Reactants
from rl4bio.answers.verdict import LABELS, Verdict
from rl4bio.types import Sample

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (Verdict(), Choice(), Option(), Bin(), Open(), Reactants(), Design())
}


def own_kind(sample: Sample) -> Kind | None:
    """The kind that a sample names, or whose options make it a choice."""
    found = KINDS.get(Asked.of(sample).kind or "")
    return found or (KINDS["choice"] if AskedChoice.of(sample).options else None)


def kinds_of(samples: Sequence[Sample]) -> list[Kind]:
    """The kind of each sample: what it says itself, else a corpus of labels is one of verdicts.

    Raises:
        DataError: a sample cannot be scored, such as one whose target is neither yes nor no nor
            maybe among many that are.
    """
    own = [own_kind(sample) for sample in samples]
    bare = [sample for sample, kind in zip(samples, own, strict=True) if kind is None]
    labelled = 2 * sum(sample.target in LABELS for sample in bare) > len(bare)
    rest = KINDS["verdict" if labelled else "open"]
    found = [kind or rest for kind in own]
    for sample, kind in zip(samples, found, strict=True):
        kind.check(sample)
    return found


def answer_lead(sample: Sample) -> str:
    """What an answer begins with before its first word: letters of therapeutic tasks are "(B)"."""
    kind = own_kind(sample)
    return "" if kind is None else kind.lead(sample)


def asks_for_molecule(sample: Sample) -> bool:
    """Whether molecule rewards are for this sample: a design prompt, or no therapeutic task."""
    kind = Asked.of(sample).kind
    return kind is None or (kind in KINDS and KINDS[kind].is_design)
