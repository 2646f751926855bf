"""A policy's answers to questions: generated greedily, or several times with sampling noise.

The same model, questions and seed give the same answers every time, in batches of any size.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from rl4bio.answers.forms import plain_samples
from rl4bio.answers.kind import Kind
from rl4bio.data import Corpus
from rl4bio.data.module import fit_prompts
from rl4bio.evaluation.replies import Questions, Written, behind_opening, form_of, make_reply
from rl4bio.modules.policy import Policy
from rl4bio.modules.rollout import sample_completions, sampling_seed
from rl4bio.reports.answers.cases import Reply, merge_draws
from rl4bio.sections import RolloutConfig
from rl4bio.types import Sample, Scorer

log = logging.getLogger("rl4bio")

NOISE = -1
"""Round number of evaluation's sampling noise, which no training step draws."""


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
    kind: Kind,
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
        prompts=[policy.encode_prompt(sample.prompt, sample.opening) for sample in kept],
        form=form_of(kept, corpus.prompt_form),
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
    drawn = [(number, written) for number, own in enumerate(found) for written in own]
    rewards = _reward_rows(scorer, questions, drawn)
    replies = [
        make_reply(written, questions, number, reward, raw)
        for (number, written), (reward, raw) in zip(drawn, rewards, strict=True)
    ]
    if sampling is None:
        return replies
    return [merge_draws(replies[n : n + group]) for n in range(0, len(replies), group)]


def begun_prompts(policy: Policy, questions: Questions) -> list[list[int]]:
    """The prompts, each with what its completion has been begun with."""
    if not questions.opened:
        return questions.prompts
    return [
        policy.encode_prompt(sample.prompt, opened)
        for sample, opened in zip(questions.samples, questions.opened, strict=True)
    ]


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
    prompts = begun_prompts(policy, questions)
    starts = [] if questions.opened else [policy.start_of(s) for s in questions.samples]
    for rows in by_length(prompts, max(1, batch_size // group)):
        uids = [questions.samples[row].uid for row in rows]
        out = sample_completions(
            policy,
            [prompts[row] for row in rows],
            group_size=group,
            starts=[starts[row] for row in rows] if starts else (),
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


def _reward_rows(
    scorer: Scorer | None, questions: Questions, drawn: Sequence[tuple[int, Written]]
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Each completion's reward parts with their `total`, and raw values; empty without a scorer.

    What goes on behind an opened turn is scored as the answer alone.
    """
    if scorer is None:
        return [({}, {}) for _ in drawn]
    texts = [written.text for _, written in drawn]
    samples = [questions.samples[number] for number, _ in drawn]
    if questions.opened:
        texts = [behind_opening(questions, n, written.text)[0] or "" for n, written in drawn]
        samples = plain_samples(samples)
    table = scorer(texts, samples)
    columns = {**table.parts, "total": table.total}
    return [
        (
            {name: column[n] for name, column in columns.items()},
            {name: column[n] for name, column in table.raw.items()},
        )
        for n in range(len(texts))
    ]
