"""Where the answer of a completion stands, and answers that are bins of a scaled label.

`loose_answer` finds it also where the form is not kept, for rewards that pay a little for that.

What data, rewards and evaluation of therapeutic tasks share. A sample says in
`extra["answer_form"]` how its completions are written: `tags` is
`<reasoning>...</reasoning><answer>...</answer>`, `plain` the answer alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rl4bio.tags import scan_tags, strict_parse, strip_terminators
from rl4bio.types import Sample

TAGS = ("reasoning", "answer")
"""Names of the two blocks of the form `tags`."""
TOP_BIN = 1000

_LOOSE_FORM = re.compile("(?:tT?)?aA?|tTA?|")  # <thought> </thought> <answer> </answer>
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


def loose_answer(completion: str, names: Sequence[str] = TAGS) -> tuple[str, str] | None:
    """The answer of a completion that may not keep its form, and what else it says to the reader.

    The answer is what stands in the one answer block, closed or not; without one, what stands
    behind the one closed thought; without tags, the whole text. What stands in a thought is none,
    so blocks that are swapped, or a thought that is never followed by anything, have no answer.

    Args:
        completion: generated text alone; untrusted.
        names: of the thought and of the answer.

    Returns:
        The answer and the text outside both blocks, which may contradict it; None where there is
        no answer, more than one, or a thought goes on behind it.
    """
    text = strip_terminators(completion)
    thought, answer = names
    letters = dict(zip(_marks(thought, answer), "tTaA", strict=True))
    tags = scan_tags(text, names, limit=5)
    at = {letters[tag.name, tag.closing]: tag for tag in tags}
    if not _LOOSE_FORM.fullmatch("".join(letters[tag.name, tag.closing] for tag in tags)):
        return None
    if not tags:
        return text.strip(), ""
    start = at["a"] if "a" in at else at["T"]
    end = at["A"].start if "A" in at else len(text)
    outside = [text[: tags[0].start]]
    if {"T", "a"} <= at.keys():
        outside.append(text[at["T"].end : at["a"].start])
    if "A" in at:
        outside.append(text[at["A"].end :])
    return text[start.end : end].strip(), "\n".join(outside).strip()


def _marks(thought: str, answer: str) -> list[tuple[str, bool]]:
    """The tags of a form in their order: name, and whether it closes."""
    return [(name, closing) for name in (thought, answer) for closing in (False, True)]


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
