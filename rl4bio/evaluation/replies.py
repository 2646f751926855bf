"""A completion as a reply: its verdict or number, its rewards, and what else is counted in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.answers.answer import Answer
from rl4bio.answers.asked import Asked
from rl4bio.answers.forms import (
    Form,
    answer_behind,
    answer_of,
    opening,
    parse_completion,
    plain_samples,
)
from rl4bio.answers.kind import Kind
from rl4bio.answers.reasoning import corrects_itself, count_words, reasoning_of
from rl4bio.answers.tags import strict_parse
from rl4bio.answers.verdict import verdict_of
from rl4bio.reports.answers.cases import Reply
from rl4bio.rewards.evidence.grounding import (
    MAX_CHARACTERS,
    GroundingReward,
    copied_fraction,
    evidence_of,
)
from rl4bio.rewards.meaning.denial import denies_label
from rl4bio.text.words import tokens
from rl4bio.types import Sample

FEW_WORDS = 4
"""A thought of fewer is as good as none."""


@dataclass(slots=True, kw_only=True)
class Questions:
    """Samples of one kind, and their prompts in tokens."""

    samples: list[Sample]
    prompts: list[list[int]]
    form: Form
    """What the prompts ask for; it decides how completions are read."""
    kind: Kind
    opened: list[str] = field(default_factory=list)
    """Of each sample what its completion has been begun with, up to the start of the answer; [] for
    none. The prompts do not hold it."""

    @property
    def name(self) -> str:
        """Of the prompt, as modes are called."""
        named = {"tags": "tagged", "think": "think", "direct": "direct"}[self.form]
        first = self.samples[0] if self.samples else None
        if first is not None and Asked.of(first).answer_form and isinstance(first.prompt, str):
            named = "predict"
        return f"{named} prompt"


@dataclass(slots=True, kw_only=True)
class Completion:
    """One completion of a question, as text."""

    text: str
    tokens: int
    truncated: bool


def form_of(samples: Sequence[Sample], asked: str | None) -> Form:
    """What the prompts of the samples ask for.

    Args:
        samples: may say so themselves.
        asked: of their corpus (`Corpus.prompt_form`).
    """
    said = (Asked.of(samples[0]).answer_form if samples else None) or asked
    if said in ("think", "direct", "predict", "plain"):
        return "think" if said == "think" else "direct"
    return "tags"


def without_reasoning(questions: Questions) -> Questions:
    """The same questions with the reasoning block begun and ended, and the answer block begun."""
    kind = questions.kind
    opened = [opening(kind.tags, kind.lead(sample)) for sample in questions.samples]
    return dataclasses.replace(questions, opened=opened)


def behind_opening(questions: Questions, number: int, text: str) -> tuple[str | None, str]:
    """The answer of what goes on behind an opened turn, strictly (None: not closed) and leniently.

    Args:
        questions: with `opened`.
        number: of the sample.
        text: generated.
    """
    tags = questions.kind.tags
    whole = questions.kind.lead(questions.samples[number]) + text
    return answer_behind(whole, tags), whole.partition(f"</{tags[1]}>")[0].strip()


def make_reply(
    written: Completion,
    questions: Questions,
    number: int,
    rewards: dict[str, float],
    raw: dict[str, float] | None = None,
) -> Reply:
    """A completion, read by both readers.

    Args:
        written: the completion.
        questions: what was asked.
        number: of the sample.
        rewards: of the completion.
        raw: what they measure in it, in its own units.
    """
    sample, kind, form = questions.samples[number], questions.kind, questions.form
    strict_text: str | None = written.text
    lenient_text = written.text
    completion = written.text
    if questions.opened:
        strict_text, lenient_text = behind_opening(questions, number, written.text)
        completion = questions.opened[number] + written.text
        (sample,), form = plain_samples([sample]), "direct"
    strict = None if strict_text is None else kind.strict(strict_text, sample, form)
    answer = Answer(
        gold=kind.gold(sample),
        strict=strict,
        lenient=kind.lenient(lenient_text, sample, form),
        tokens=float(written.tokens),
        truncated=written.truncated,
        rewards=rewards,
        grounding=_grounding(written.text, sample, form),
        positive=kind.positive(sample),
        number=kind.number(strict, sample),
        measures=_measures(kind, strict_text, sample, reasons=form == "tags"),
    )
    return Reply(completion=completion, answer=answer, raw=raw or {})


def _measures(kind: Kind, text: str | None, sample: Sample, *, reasons: bool) -> dict[str, float]:
    """What is counted in a completion of a therapeutic task, or in a thought about a context."""
    if Asked.of(sample).answer_form is None:
        return _signs_of_hacking(text or "", sample) if reasons and sample.context.strip() else {}
    found = kind.measures(None if text is None else answer_of(text, sample), sample)
    if reasons:
        reasoning = reasoning_of(text or "")
        found["reasoning_words"] = float(count_words(reasoning))
        found["self_correction"] = float(corrects_itself(reasoning))
    return found


def _signs_of_hacking(text: str, sample: Sample) -> dict[str, float]:
    """What a policy may do that earns rewards and is no reasoning, each in [0, 1]."""
    thought, parsed = reasoning_of(text), strict_parse(text)
    answer = "" if parsed is None else parsed.answer
    label = verdict_of(answer)
    denied = label is not None and denies_label(answer, label, sample.question)
    return {
        "label_denied": float(denied),
        "empty_thought": float(count_words(thought) < FEW_WORDS),
        "abstract_copied": copied_fraction(tokens(thought), evidence_of(sample)),
    }


def _grounding(completion: str, sample: Sample, form: Form) -> float:
    """How far a thought rests on its context (`GroundingReward`); 0 where the form is not kept.

    NaN where the prompt asks for no thought, or there is no context.
    """
    if form == "direct" or not sample.context.strip():
        return float("nan")
    parsed = parse_completion(completion, form)
    if parsed is None or len(parsed.thought) > MAX_CHARACTERS:
        return 0.0
    return GroundingReward().of_thought(parsed.thought, evidence_of(sample))
