"""A policy's answers to questions: generated greedily, or several times with sampling noise.

The same model, questions and seed give the same answers every time, in batches of any size.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answer_reading import lenient_answer, parse_completion, strict_answer
from rl4bio.data import Corpus
from rl4bio.data.medical_text import Form
from rl4bio.data.module import fit_prompts
from rl4bio.evaluation.answers import Answer
from rl4bio.evaluation.cases import Reply, merge_draws
from rl4bio.evaluation.labels import Kind
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.rewards.facts import find_evidence
from rl4bio.rewards.grounding import MAX_CHARACTERS, GroundingReward
from rl4bio.sections import RolloutConfig
from rl4bio.types import Sample, Scorer

log = logging.getLogger("rl4bio")

NOISE = -1
"""Round number of evaluation's sampling noise, which no training step draws."""


@dataclass(slots=True, kw_only=True)
class Questions:
    """Samples of one kind, and their prompts in tokens."""

    samples: list[Sample]
    prompts: list[list[int]]
    form: Form
    """What the prompts ask for; it decides how completions are read."""
    kind: Kind = "verdict"

    @property
    def name(self) -> str:
        """Of the prompt, as modes are called."""
        return {"tags": "tagged", "think": "think", "direct": "direct"}[self.form] + " prompt"

    def gold(self, sample: Sample) -> str | None:
        """The label of a sample; None for an open question, which has a text at most."""
        return None if self.kind == "open" else str(sample.target)


@dataclass(slots=True, kw_only=True)
class Written:
    """One completion."""

    text: str
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How several completions of a prompt are drawn."""

    num_samples: int
    temperature: float
    top_k: int | None
    seed: int


def fit_questions(
    policy: Policy,
    corpus: Corpus,
    samples: Sequence[Sample],
    limits: RolloutConfig,
    kind: Kind = "verdict",
) -> Questions:
    """The samples within the prompt limit, treated like training prompts, and encoded.

    Args:
        policy: gives the tokens.
        corpus: of the samples; knows how to shorten them.
        samples: of one kind.
        limits: max_prompt_tokens, and what happens to longer prompts.
        kind: of the samples.

    Raises:
        DataError: a prompt is too long and may be neither shortened nor dropped.
    """
    kept = fit_prompts(
        corpus,
        samples,
        limit=limits.max_prompt_tokens,
        policy=limits.overlong_prompts,
        count_tokens=policy.count_tokens,
    )
    return Questions(
        samples=kept,
        prompts=[policy.encode_prompt(sample.prompt) for sample in kept],
        form=getattr(corpus, "form", "tags"),
        kind=kind,
    )


def generate_replies(
    policy: Policy,
    questions: Questions,
    *,
    max_new_tokens: int,
    batch_size: int,
    scorer: Scorer | None = None,
    sampling: Sampling | None = None,
    name: str = "policy",
) -> list[Reply]:
    """Completions of the prompts, read by both parsers and scored.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: of `fit_questions`.
        max_new_tokens: limit of a completion, its end token included.
        batch_size: completions decoded together. Prompts of like length share a batch.
        scorer: the configured rewards, or None.
        sampling: draws several completions a prompt; None is one greedy completion.
        name: of the model, for the log.

    Returns:
        One reply a sample, in the samples' order; of several draws their majority.
    """
    group = 1 if sampling is None else sampling.num_samples
    found = _complete(policy, questions, max_new_tokens, batch_size, sampling, name)
    rows = [(sample, own) for sample, own in zip(questions.samples, found, strict=True)]
    drawn = [(sample, written) for sample, own in rows for written in own]
    rewards = _reward_rows(scorer, [w.text for _, w in drawn], [sample for sample, _ in drawn])
    replies = [
        Reply(
            completion=written.text,
            answer=Answer(
                gold=questions.gold(sample),
                strict=strict_answer(written.text, sample, questions.kind, questions.form),
                lenient=lenient_answer(written.text, sample, questions.kind, questions.form),
                tokens=float(written.tokens),
                truncated=written.truncated,
                rewards=reward,
                grounding=_grounding(written.text, sample, questions.form),
            ),
        )
        for (sample, written), reward in zip(drawn, rewards, strict=True)
    ]
    if sampling is None:
        return replies
    return [merge_draws(replies[n : n + group]) for n in range(0, len(replies), group)]


def by_length(prompts: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Row numbers in batches, longest prompts first: little padding, and memory runs out early."""
    order = sorted(range(len(prompts)), key=lambda row: (-len(prompts[row]), row))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _complete(
    policy: Policy,
    questions: Questions,
    max_new_tokens: int,
    batch_size: int,
    sampling: Sampling | None,
    name: str,
) -> list[list[Written]]:
    """The completions of each prompt."""
    group = 1 if sampling is None else sampling.num_samples
    found: list[list[Written]] = [[] for _ in questions.samples]
    done = 0
    for rows in by_length(questions.prompts, max(1, batch_size // group)):
        uids = [questions.samples[row].uid for row in rows]
        out = sample_completions(
            policy,
            [questions.prompts[row] for row in rows],
            group_size=group,
            max_new_tokens=max_new_tokens,
            temperature=1.0 if sampling is None else sampling.temperature,
            top_k=None if sampling is None else sampling.top_k,
            seeds=None if sampling is None else [_noise(sampling.seed, uid) for uid in uids],
        )
        columns = (out.texts, out.lengths.tolist(), out.truncated.tolist())
        for n, (text, length, cut) in enumerate(zip(*columns, strict=True)):
            found[rows[n // group]].append(Written(text=text, tokens=length, truncated=cut))
        done += len(rows)
        log.info("%s, %s: %d of %d answered", name, questions.name, done, len(found))
    return found


def _noise(seed: int, uid: str) -> int:
    """The seed of a sample's noise: the same for every model and every subset of the samples."""
    return sampling_seed(seed, zlib.crc32(uid.encode()), NOISE)


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


def _reward_rows(
    scorer: Scorer | None, texts: Sequence[str], samples: Sequence[Sample]
) -> list[dict[str, float]]:
    """Each completion's reward parts and their `total`; empty without a scorer."""
    if scorer is None:
        return [{} for _ in texts]
    table = scorer(texts, samples)
    columns = {**table.parts, "total": table.total}
    return [{name: column[n] for name, column in columns.items()} for n in range(len(texts))]
