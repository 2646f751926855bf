"""Designs: the molecule that a completion writes."""

from __future__ import annotations

from rl4bio.answers.forms import answer_of
from rl4bio.answers.open import Open
from rl4bio.types import Sample


class Design(Open):
    """A molecule that molecule rewards judge."""

    name = "design"
    is_therapeutic = True
    is_design = True


def written_smiles(completion: str, sample: Sample) -> str:
    """The SMILES that a completion writes: behind the prompt's start of one, in its answer, or as
    pieces for the prompt's scaffold, joined to it.

    Returns:
        "" where the completion does not keep its form, which no reader takes for a molecule.
    """
    if "decorate" in sample.extra:
        from rl4bio.chem.attachments import joined

        return joined(sample.extra["decorate"], completion)
    if "answer_form" in sample.extra:
        return answer_of(completion, sample) or ""
    return str(sample.extra.get("prefix", "")) + completion
