"""A policy's answers to questions: generated greedily, or several times with sampling noise.

The same model, questions and seed give the same answers every time, in batches of any size.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from rl4bio.answers.forms import plain_samples
from rl4bio.answers.kind import Kind
from rl4bio.data import Corpus
from rl4bio.data.module import fit_prompts
from rl4bio.evaluation.replies import Completion, Questions, behind_opening, form_of, make_reply
from rl4bio.modules.completing import Progress, Sampling, by_length, complete_all
from rl4bio.modules.policy import Policy
from rl4bio.reports.answers.cases import Reply, merge_draws
from rl4bio.sections import RolloutConfig
from rl4bio.types import Sample, Scorer


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
    sampling: Sampling,
    *,
    batch_size: int,
    scorer: Scorer | None = None,
    name: str = "policy",
) -> list[Reply]:
    """Completions of the prompts, read by both parsers and scored.

    Args:
        policy: as it stands; put into eval mode inside.
        questions: of `fit_questions`.
        sampling: greedy, or of several draws a prompt.
        batch_size: completions decoded together. Prompts of like length share a batch.
        scorer: the configured rewards, or None.
        name: of the model and the pass, for the log.

    Returns:
        One reply a sample, in the samples' order; of several draws their majority.
    """
    found = _complete(policy, questions, sampling, batch_size, name)
    drawn = [(number, written) for number, own in enumerate(found) for written in own]
    rewards = _reward_rows(scorer, questions, drawn)
    replies = [
        make_reply(written, questions, number, reward, raw)
        for (number, written), (reward, raw) in zip(drawn, rewards, strict=True)
    ]
    if sampling.temperature == 0:
        return replies
    group = sampling.group_size
    return [merge_draws(replies[n : n + group]) for n in range(0, len(replies), group)]


def begun_prompts(policy: Policy, questions: Questions) -> list[list[int]]:
    """The prompts, each with what its completion has been begun with."""
    if not questions.opened:
        return questions.prompts
    return [
        policy.encode_prompt(sample.prompt, opened)
        for sample, opened in zip(questions.samples, questions.opened, strict=True)
    ]


def _complete(
    policy: Policy, questions: Questions, sampling: Sampling, batch_size: int, name: str
) -> list[list[Completion]]:
    """The completions of each prompt, whose noise is the same for every model and every subset."""
    group, samples = sampling.group_size, questions.samples
    found: list[list[Completion]] = [[] for _ in samples]
    prompts = begun_prompts(policy, questions)
    for rows, out in complete_all(
        policy,
        samples,
        sampling,
        batches=by_length(prompts, max(1, batch_size // group)),
        numbers=[zlib.crc32(sample.uid.encode()) for sample in samples],
        prompts=prompts,
        begun=bool(questions.opened),
        progress=Progress(len(found), "answered", name=name, ends=True),
    ):
        columns = (out.completions, out.lengths.tolist(), out.truncated.tolist())
        for n, (text, length, cut) in enumerate(zip(*columns, strict=True)):
            found[rows[n // group]].append(Completion(text=text, tokens=length, truncated=cut))
    return found


def _reward_rows(
    scorer: Scorer | None, questions: Questions, drawn: Sequence[tuple[int, Completion]]
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
