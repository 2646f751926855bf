"""What a question says of itself beyond its text, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rl4bio.types import Extra


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked(Extra):
    """Of any kind; a kind with more fields has a subclass in its file (`Kind.asked`)."""

    kind: str | None = None
    """Name of the kind, one of `rl4bio.answers.kinds.KINDS`; None: it is found by the target."""
    task: str | None = None
    """Of several in one corpus."""
    answer_form: Literal["tags", "plain"] | None = None
    """How completions are written: tags is <reasoning>...</reasoning><answer>...</answer>, plain
    the answer alone. None leaves it to the form of the corpus."""
    prompt_form: Literal["tags", "think", "direct"] | None = None
    """What the prompt of a medical question asks a completion to look like; tags is
    <reasoning>...</reasoning><answer>...</answer>. None leaves it to the rewards."""
    inputs: Mapping[str, str] | None = None
    """Name -> text of what the prompt asks about."""
    input: str | None = None
    """The first molecule of them; "" for none, None where prompts of the corpus give none."""
