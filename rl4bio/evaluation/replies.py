"""A completion as a reply: its verdict or number, its rewards, and what else is counted in it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rl4bio.answers.bins import read_bin, value_of_bin
from rl4bio.answers.forms import (
    TAGS,
    Form,
    answer_behind,
    answer_lead,
    answer_of,
    opening,
    plain_samples,
    positive_class,
)
from rl4bio.answers.reading import Kind, lenient_answer, parse_completion, strict_answer
from rl4bio.answers.reasoning import corrects_itself, count_words, reasoning_of
from rl4bio.reports.answers.cases import Reply
from rl4bio.rewards.evidence.facts import find_evidence
from rl4bio.rewards.evidence.grounding import MAX_CHARACTERS, GroundingReward
from rl4bio.statistics.answers import Answer
from rl4bio.statistics.regression import NumberAnswer
from rl4bio.types import Sample

_VERDICT_TAGS = ("thought", "answer")


@dataclass(slots=True, kw_only=True)
class Questions:
    """Samples of one kind, and their prompts in tokens."""

    samples: list[Sample]
    prompts: list[list[int]]
    form: Form
    """What the prompts ask for; it decides how completions are read."""
    kind: Kind = "verdict"
    opened: list[str] = field(default_factory=list)
    """Of each sample what its completion has been begun with, up to the start of the answer; [] for
    none. The prompts do not hold it."""

    @property
    def name(self) -> str:
        """Of the prompt, as modes are called."""
        named = {"tags": "tagged", "think": "think", "direct": "direct"}[self.form]
        first = self.samples[0] if self.samples else None
        if first is not None and "answer_form" in first.extra and isinstance(first.prompt, str):
            named = "predict"
        return f"{named} prompt"

    def gold(self, sample: Sample) -> str | None:
        """The label of a sample; None for a number, and for an open question."""
        return None if self.kind in ("open", "bin") else str(sample.target)


@dataclass(slots=True, kw_only=True)
class Written:
    """One completion."""

    text: str
    tokens: int
    truncated: bool


def form_of(samples: Sequence[Sample], default: Form) -> Form:
    """What the prompts of the samples ask for: as they say themselves, else the default."""
    said = samples[0].extra.get("answer_form") if samples else None
    return default if said is None else "tags" if said == "tags" else "direct"


def block_names(questions: Questions) -> tuple[str, str]:
    """Names of the two blocks of the form `tags`."""
    return _VERDICT_TAGS if questions.kind == "verdict" else TAGS


def without_reasoning(questions: Questions) -> Questions:
    """The same questions with the reasoning block begun and ended, and the answer block begun."""
    tags = block_names(questions)
    opened = [opening(tags, answer_lead(sample)) for sample in questions.samples]
    return dataclasses.replace(questions, opened=opened)


def behind_opening(questions: Questions, number: int, text: str) -> tuple[str | None, str]:
    """The answer of what goes on behind an opened turn, strictly (None: not closed) and leniently.

    Args:
        questions: with `opened`.
        number: of the sample.
        text: generated.
    """
    tags = block_names(questions)
    whole = answer_lead(questions.samples[number]) + text
    return answer_behind(whole, tags), whole.partition(f"</{tags[1]}>")[0].strip()


def make_reply(
    written: Written, questions: Questions, number: int, rewards: dict[str, float]
) -> Reply:
    """A completion, read by both readers.

    Args:
        written: the completion.
        questions: what was asked.
        number: of the sample.
        rewards: of the completion.
    """
    sample, kind, form = questions.samples[number], questions.kind, questions.form
    strict_text: str | None = written.text
    lenient_text = written.text
    completion = written.text
    if questions.opened:
        strict_text, lenient_text = behind_opening(questions, number, written.text)
        completion = questions.opened[number] + written.text
        (sample,), form = plain_samples([sample]), "direct"
    strict = None if strict_text is None else strict_answer(strict_text, sample, kind, form)
    answer = Answer(
        gold=questions.gold(sample),
        strict=strict,
        lenient=lenient_answer(lenient_text, sample, kind, form),
        tokens=float(written.tokens),
        truncated=written.truncated,
        rewards=rewards,
        grounding=_grounding(written.text, sample, form),
        positive=positive_class(sample),
        number=_number(strict, sample) if kind == "bin" else None,
        measures=_measures(strict_text, sample, reasons=form == "tags"),
    )
    return Reply(completion=completion, answer=answer)


def _number(strict: str | None, sample: Sample) -> NumberAnswer:
    """The label and what was said, in the label's unit."""
    extra, said = sample.extra, read_bin(strict)
    return NumberAnswer(
        label=float(extra["label"]),
        said=math.nan if said is None else value_of_bin(said, **extra["scale"]),
        constant=value_of_bin(extra["constant"]["bin"], **extra["scale"]),
    )


def _measures(text: str | None, sample: Sample, *, reasons: bool) -> dict[str, float]:
    """What is counted in a completion of a therapeutic task; {} for others."""
    found: dict[str, float] = {}
    if "answer_form" not in sample.extra:
        return found
    if sample.extra.get("kind") == "reactants":
        found |= _same_reactants(text, sample)
    if reasons:
        reasoning = reasoning_of(text or "")
        found["reasoning_words"] = float(count_words(reasoning))
        found["self_correction"] = float(corrects_itself(reasoning))
    return found


def _same_reactants(text: str | None, sample: Sample) -> dict[str, float]:
    """Whether an answer is exactly the set of reactants, and how much alike the two are."""
    from rl4bio.chem.reactants import reactant_similarity, read_reactants, same_reactants

    wanted = read_reactants(sample.target or "")
    answer = read_reactants("" if text is None else answer_of(text, sample) or "")
    if not wanted or not answer:
        return {"exact_set": 0.0, "tanimoto": 0.0}
    return {
        "exact_set": float(same_reactants(answer, wanted)),
        "tanimoto": float(reactant_similarity(answer, wanted)),
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
    evidence = find_evidence(sample.context, sample.question)
    return GroundingReward().of_thought(parsed.thought, evidence)
