"""Does the completion keep to its tags?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import parse_reply, tags_of
from rl4bio.answers.tags import THOUGHT_TAGS, check_names, has_content, scan_tags, strip_terminators
from rl4bio.rewards.base import Reward
from rl4bio.types import Sample


@dataclass(kw_only=True)
class StructureReward(Reward):
    """1 for exactly `<thought>...</thought><answer>...</answer>`, white space only around it; where
    the prompt asks for another form (think, direct), 1 for exactly that.

    Graded, for a model that does not close its tags yet: 0.2 for each tag that stands in the right
    order, less 0.2 for each tag too many, so at most 0.8 without the strict form. A closing tag of
    an empty block earns nothing.
    """

    graded: bool = False
    """Partial credit below the strict form of tags; off once most completions parse."""
    tags: list[str] | None = None
    """Names of the two blocks, in order; None = those of the prompt, else thought and answer."""

    def __post_init__(self) -> None:
        check_names(self.tags)

    def score(self, completion: str, sample: Sample) -> float:
        if parse_reply(completion, sample, self.tags) is not None:
            return 1.0
        if not self.graded or Asked.of(sample).prompt_form in ("think", "direct"):
            return 0.0
        return self._partial(completion, tags_of(sample, self.tags, THOUGHT_TAGS))

    def _partial(self, completion: str, names: Sequence[str]) -> float:
        text = strip_terminators(completion)
        wanted = [(name, closing) for name in names for closing in (False, True)]
        tags = scan_tags(text, names, limit=2 * len(wanted))  # so many are worth 0 in any case
        found: list[tuple[str, bool] | None] = []
        for index, tag in enumerate(tags):
            block = text[tags[index - 1].end : tag.start] if index else ""
            is_empty = tag.closing and not has_content(block)
            found.append(None if is_empty else (tag.name, tag.closing))
        right = _common_subsequence(found, wanted)
        return max(0.0, 0.2 * (right - max(0, len(tags) - right - found.count(None))))


def _common_subsequence(found: Sequence[object], wanted: Sequence[object]) -> int:
    """Length of the longest common subsequence, by the table of Wagner and Fischer (1974)."""
    row = [0] * (len(wanted) + 1)
    for item in found:
        above = row
        row = [0]
        for index, other in enumerate(wanted):
            row.append(above[index] + 1 if item == other else max(above[index + 1], row[index]))
    return row[-1]
