"""Where the answer of a completion stands, and answers that are bins of a scaled label.

`loose_answer` finds it also where the form is not kept, for rewards that pay a little for that.

What data, rewards and evaluation of therapeutic tasks share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rl4bio.answers.asked import Asked
from rl4bio.answers.tags import (
    THOUGHT_TAGS,
    Parsed,
    has_content,
    scan_tags,
    strict_parse,
    strip_terminators,
)
from rl4bio.types import Sample

TAGS = ("reasoning", "answer")
"""Names of the two blocks of the form `tags`."""

_LOOSE_FORM = re.compile("(?:tT?)?aA?|tTA?|")  # <thought> </thought> <answer> </answer>


def write_blocks(reasoning: str, answer: str) -> str:
    """A completion in the form `tags`."""
    return f"<reasoning>{reasoning}</reasoning><answer>{answer}</answer>"


def answer_of(completion: str, sample: Sample) -> str | None:
    """The answer that a completion gives, stripped; None where it does not keep its form.

    Args:
        completion: generated text alone; untrusted.
        sample: its `Asked.answer_form` is `tags` or `plain`; `plain` where it says nothing.
    """
    if Asked.of(sample).answer_form != "tags":
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


Form = Literal["tags", "think", "direct"]
THINK_OPENS = "/think "
ANSWER_OPENS = "\n/answer "


def write_completion(reasoning: str, answer: str, form: Form) -> str:
    """The completion that a model should write; the direct form has no reasoning."""
    if form == "tags":
        return write_blocks(reasoning, answer)
    if form == "think":
        return f"{THINK_OPENS}{reasoning}{ANSWER_OPENS}{answer}"
    return answer


def read_completion(text: str, form: Form) -> Parsed | None:
    """Reasoning and answer of a well-formed completion, or None where it does not keep the form.

    `/think` is how a published SFT run opens its targets; there the response follows after a
    blank, and nothing tells the two apart afterwards. Here the answer has a line of its own that
    begins with `/answer`, and each of the two marks stands in the text once.
    """
    if form == "tags":
        return strict_parse(text, TAGS)
    text = strip_terminators(text)
    if form == "direct":
        return Parsed("", text.strip()) if has_content(text) else None
    if not text.startswith(THINK_OPENS) or text.count("/think") != 1 or text.count("/answer") != 1:
        return None
    reasoning, mark, answer = text.removeprefix(THINK_OPENS).partition(ANSWER_OPENS)
    parsed = Parsed(reasoning.strip(), answer.strip())
    return parsed if mark and has_content(parsed.thought) and has_content(parsed.answer) else None


_BLOCKS = tuple({*TAGS, *THOUGHT_TAGS})


def tags_of(sample: Sample, given: Sequence[str] | None, default: Sequence[str]) -> Sequence[str]:
    """The names of the two blocks in which a completion is read.

    Args:
        sample: whose prompt may ask for the form `tags`.
        given: by the user; None = those of the prompt.
        default: where the sample says nothing.
    """
    if given is not None:
        return given
    asked = Asked.of(sample)
    return TAGS if "tags" in (asked.prompt_form, asked.answer_form) else default


def parse_reply(
    completion: str,
    sample: Sample,
    names: Sequence[str] | None = None,
    *,
    default: Sequence[str] = THOUGHT_TAGS,
) -> Parsed | None:
    """Thought and answer of a completion that keeps the form of its prompt, or None. For training.

    Args:
        completion: generated text alone; untrusted.
        sample: its `Asked.prompt_form` says which; direct is without blocks, with "" for a thought.
        names, default: of the two blocks, as `tags_of` takes them.
    """
    form = Asked.of(sample).prompt_form
    if form == "direct" and scan_tags(completion, _BLOCKS, limit=1):
        return None
    if form in ("think", "direct"):
        return read_completion(completion, form)
    return strict_parse(completion, tags_of(sample, names, default))


def opening(tags: tuple[str, str], answer: str = "") -> str:
    """The start of an assistant's turn whose reasoning block is empty, up to the answer's start."""
    thought, said = tags
    return f"<{thought}></{thought}><{said}>{answer}"


def plain_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The samples as if their prompts asked for the answer alone, as rewards then read it."""
    return [
        sample if Asked.of(sample).answer_form is None else sample.with_extra(answer_form="plain")
        for sample in samples
    ]


def answer_behind(written: str, tags: tuple[str, str]) -> str | None:
    """The answer of a text that goes on behind `opening`; None where it does not keep the form.

    Args:
        written: what was generated; after the closing tag only white space may follow.
        tags: names of the two blocks.
    """
    answer, closed, rest = strip_terminators(written).partition(f"</{tags[1]}>")
    return answer.strip() if closed and not rest.strip() and has_content(answer) else None


def parse_completion(completion: str, form: Form) -> Parsed | None:
    """Thought and answer of a completion in its form, or None; either pair of tags will do."""
    if form == "tags":
        return strict_parse(completion) or strict_parse(completion, TAGS)
    return read_completion(completion, form)
