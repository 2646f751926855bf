"""Designs: the molecule that a completion writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import answer_of
from rl4bio.answers.open import Open
from rl4bio.types import Extra, Sample


class Design(Open):
    """A molecule that molecule rewards judge."""

    name = "design"
    asks = "the SMILES of one molecule"
    is_design = True
    is_molecules = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begun(Extra):
    """A molecule that the prompt begins, and what it is to be like."""

    prefix: str = ""
    """The start of its SMILES that the prompt holds, which completions go on from."""
    properties: Sequence[float] | None = None
    """What a model of properties is conditioned on."""
    scaffold: str | None = None
    """The SMILES that a model of scaffolds is conditioned on."""
    decorate: str | None = None
    """A scaffold with attachment points whose pieces completions are."""


def written_smiles(completion: str, sample: Sample) -> str:
    """The SMILES that a completion writes: behind the prompt's start of one, in its answer, or as
    pieces for the prompt's scaffold, joined to it.

    Returns:
        "" where the completion does not keep its form, which no reader takes for a molecule.
    """
    if Asked.of(sample).answer_form is not None:
        return answer_of(completion, sample) or ""
    begun = Begun.of(sample)
    if begun.decorate is not None:
        from rl4bio.chem.attachments import joined

        return joined(begun.decorate, completion)
    return begun.prefix + completion
