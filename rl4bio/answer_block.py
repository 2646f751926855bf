"""Where the answer of a completion stands, and answers that are bins of a scaled label.

What data, rewards and evaluation of therapeutic tasks share. A sample says in
`extra["answer_form"]` how its completions are written: `tags` is
`<reasoning>...</reasoning><answer>...</answer>`, `plain` the answer alone.
"""

from __future__ import annotations

import math
import re

from rl4bio.tags import strict_parse, strip_terminators
from rl4bio.types import Sample

TAGS = ("reasoning", "answer")
"""Names of the two blocks of the form `tags`."""
TOP_BIN = 1000

_BIN = re.compile(r"0\d\d|[1-9]\d\d|1000", re.ASCII)


def write_blocks(reasoning: str, answer: str) -> str:
    """A completion in the form `tags`."""
    return f"<reasoning>{reasoning}</reasoning><answer>{answer}</answer>"


def answer_of(completion: str, sample: Sample) -> str | None:
    """The answer that a completion gives, stripped; None where it does not keep its form.

    Args:
        completion: generated text alone; untrusted.
        sample: its `extra["answer_form"]` is `tags` or `plain`; `plain` where it says nothing.
    """
    if sample.extra.get("answer_form") != "tags":
        return strip_terminators(completion).strip()
    parsed = strict_parse(completion, TAGS)
    return None if parsed is None else parsed.answer


def asks_for_molecule(sample: Sample) -> bool:
    """Whether molecule rewards are for this sample: a design prompt, or no therapeutic task."""
    return sample.extra.get("kind", "design") == "design"


def written_smiles(completion: str, sample: Sample) -> str:
    """The SMILES that a completion writes: behind the prompt's start of one, or in its answer.

    Returns:
        "" where the completion does not keep its form, which no reader takes for a molecule.
    """
    if "answer_form" in sample.extra:
        return answer_of(completion, sample) or ""
    return str(sample.extra.get("prefix", "")) + completion


def bin_of(value: float, low: float, high: float) -> int:
    """The bin 0 to 1000 of a label: 1000 (value - low) / (high - low), rounded, held inside.

    TxGemma (Wang et al., 2025, arXiv:2504.06196) scales regression labels from the training
    minimum to the training maximum; that halves are rounded up is our reading.

    Raises:
        ValueError: low is not below high.
    """
    if not low < high:
        raise ValueError(f"bin_of: got low {low} and high {high}, needs low below high")
    share = (value - low) / (high - low)
    return min(TOP_BIN, max(0, math.floor(TOP_BIN * share + 0.5)))


def value_of_bin(number: float, low: float, high: float) -> float:
    """The label in its own unit of a bin; the inverse of `bin_of` up to rounding."""
    return low + number / TOP_BIN * (high - low)


def bin_text(number: int) -> str:
    """A bin as prompts ask for it: three digits with leading zeros, or 1000."""
    return f"{number:03d}"


def read_bin(answer: str | None) -> int | None:
    """The bin of an answer that is exactly three digits, or 1000; None for anything else."""
    return int(answer) if answer is not None and _BIN.fullmatch(answer.strip()) else None
